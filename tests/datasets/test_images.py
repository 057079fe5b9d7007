import io
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from mlsgm_pyg.datasets import ImageError, as_picture, images, read_image, read_picture

GREEN = (10, 200, 60)


def pixels(path, image, **options):
    image.save(path, **options)
    out = read_image(path)
    assert out.mode == 'RGB'
    return np.asarray(out).astype(int)


def test_transparent_pixels_lie_over_white(tmp_path):
    rgba = Image.new('RGBA', (4, 3), (*GREEN, 255))
    rgba.putpixel((0, 0), (*GREEN, 0))
    rgba.putpixel((1, 0), (0, 0, 0, 51))  # A fifth of black over white: 204.
    out = pixels(tmp_path / 'rgba.png', rgba)
    assert out.shape == (3, 4, 3)
    assert out[0, 0].tolist() == [255] * 3
    assert out[0, 1].tolist() == [204] * 3
    assert out[2, 3].tolist() == list(GREEN)

    la = Image.new('LA', (2, 1), (40, 255))
    la.putpixel((0, 0), (40, 0))
    assert pixels(tmp_path / 'la.png', la)[0].tolist() == [[255] * 3, [40] * 3]

    palette = Image.new('P', (2, 1), 1)
    palette.putpalette([*GREEN, 0, 0, 255])
    palette.putpixel((0, 0), 0)
    assert pixels(tmp_path / 'p.png', palette)[0].tolist() == [list(GREEN), [0, 0, 255]]
    assert pixels(tmp_path / 'p.gif', palette, transparency=0)[0].tolist() == [[255] * 3, [0, 0, 255]]
    assert pixels(tmp_path / 'p0.png', palette, transparency=0)[0].tolist() == [[255] * 3, [0, 0, 255]]
    half = bytes([51, 255])  # One opacity for each colour of the palette.
    expected = [round(255 + 0.2 * (c - 255)) for c in GREEN]
    assert pixels(tmp_path / 'pa.png', palette, transparency=half)[0].tolist() == [expected, [0, 0, 255]]
    assert np.asarray(images.to_rgb(la.convert('La')))[0].tolist() == [[255] * 3, [40] * 3]  # Premultiplied.
    key = Image.new('RGB', (2, 1), GREEN)
    key.putpixel((1, 0), (1, 2, 3))
    assert pixels(tmp_path / 'key.png', key, transparency=GREEN)[0].tolist() == [[255] * 3, [1, 2, 3]]


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, suffix):
    value = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    out = pixels(tmp_path / f'i16.{suffix}', Image.fromarray(value))
    assert out[0].tolist() == [[v] * 3 for v in (0, 1, 128, 255)]


def test_big_endian_wide_integers_and_floats(tmp_path):
    (tmp_path / 'i16.pgm').write_bytes(b'P5 3 1 65535\n' + np.array([0, 128 * 257, 65535], '>u2').tobytes())
    assert np.asarray(read_image(tmp_path / 'i16.pgm'))[0, :, 0].tolist() == [0, 128, 255]
    for name, value, expected in [
        ('i32', np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),  # Outside 16 bits: by its own range.
        ('unit', np.array([[0, 0.2, 1]], np.float32), [0, 51, 255]),
        ('byte', np.array([[0, 7, 255]], np.float32), [0, 7, 255]),
        ('wide', np.array([[0, 500, 1000]], np.float32), [0, 128, 255]),
        ('tiny', np.array([[1e-30, 0.4, 1]], np.float32), [0, 102, 255]),
    ]:
        out = pixels(tmp_path / f'{name}.tif', Image.fromarray(value))
        assert out[0, :, 1].tolist() == expected, name


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        ([-3, -3, -3, -3], [128] * 4),  # No range to be scaled by.
        ([300, 300, 300, 300], [128] * 4),
        ([0, 0, 0, 0], [0] * 4),
        ([-3e38, 0, 0, 3e38], [0, 128, 128, 255]),
    ],
)
def test_floats_that_are_all_alike_or_vast(tmp_path, value, expected):
    out = pixels(tmp_path / 'x.tif', Image.fromarray(np.array([value], np.float32)))
    assert out[0, :, 1].tolist() == expected


def test_floats_that_are_infinite_or_no_numbers_are_refused(tmp_path):
    value = Image.fromarray(np.array([[np.inf, 0, np.nan, 1]], np.float32))
    value.save(tmp_path / 'x.tif')
    assert reason(tmp_path / 'x.tif') == '2 of 4 pixels are infinite or no numbers'
    with pytest.raises(ImageError, match='2 of 4 pixels'):
        as_picture(value)


def test_one_bit_cmyk_and_other_modes(tmp_path):
    bit = Image.new('1', (2, 1), 0)
    bit.putpixel((1, 0), 1)
    assert pixels(tmp_path / 'bit.png', bit)[0].tolist() == [[0] * 3, [255] * 3]
    assert pixels(tmp_path / 'bit.tif', bit)[0].tolist() == [[0] * 3, [255] * 3]
    cmyk = Image.new('CMYK', (8, 8), (0, 255, 255, 0))  # Red ink.
    assert abs(pixels(tmp_path / 'cmyk.jpg', cmyk, quality=95) - [255, 0, 0]).max() <= 4
    assert abs(pixels(tmp_path / 'cmyk.tif', cmyk) - [255, 0, 0]).max() == 0
    assert abs(pixels(tmp_path / 'grey.jpg', Image.new('L', (9, 7), 77)) - 77).max() <= 2
    lab = Image.new('RGB', (3, 3), GREEN).convert('YCbCr')
    assert abs(pixels(tmp_path / 'ycbcr.tif', lab, compression='tiff_lzw') - GREEN).max() <= 4  # Plain: not before 13.


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (500, 2)])
def test_any_size(tmp_path, size):
    assert pixels(tmp_path / 'x.png', Image.new('RGB', size, GREEN)).shape == (size[1], size[0], 3)


def test_first_picture_of_an_animation(tmp_path):
    Image.new('RGB', (4, 4), 'red').save(
        tmp_path / 'a.gif', save_all=True, append_images=[Image.new('RGB', (4, 4), 'blue')]
    )
    assert np.asarray(read_image(tmp_path / 'a.gif'))[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize('orientation', range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    """The eight orientations by hand: which corner of the stored picture becomes the top left one."""
    corners = np.array([[0, 60], [120, 180]])
    upright = {
        1: [[0, 60], [120, 180]],
        2: [[60, 0], [180, 120]],
        3: [[180, 120], [60, 0]],
        4: [[120, 180], [0, 60]],
        5: [[0, 120], [60, 180]],
        6: [[120, 0], [180, 60]],
        7: [[180, 60], [120, 0]],
        8: [[60, 180], [0, 120]],
    }[orientation]
    stored = Image.fromarray(corners.repeat(16, 0).repeat(32, 1).astype(np.uint8))  # 64 wide, 32 high.
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = pixels(tmp_path / 'turned.jpg', stored, exif=exif, quality=95)
    height, width = out.shape[:2]
    assert (width, height) == ((64, 32) if orientation < 5 else (32, 64))
    found = out[[height // 4, -height // 4]][:, [width // 4, -width // 4], 0]
    assert abs(found - np.array(upright)).max() <= 3


def test_bad_exif_says_nothing(tmp_path):
    image = Image.new('RGB', (16, 8), GREEN)
    for name, exif in [('odd', b'Exif\0\0nonsense'), ('cut', b'Exif\0\0MM\0*\0\0\0\x08\0')]:
        image.save(tmp_path / f'{name}.jpg', exif=exif)
        image.save(tmp_path / f'{name}.png', exif=exif)
        assert read_image(tmp_path / f'{name}.jpg').size == read_image(tmp_path / f'{name}.png').size == (16, 8)
    exif = Image.Exif()
    exif[0x0112] = 77
    assert pixels(tmp_path / 'x.jpg', image, exif=exif).shape == (8, 16, 3)


def test_broken_files_are_named(tmp_path):
    path = tmp_path / 'photo.jpg'
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for suffix in ('jpg', 'png', 'gif', 'webp', 'bmp'):
        Image.fromarray(noise).save(tmp_path / f'whole.{suffix}')
        whole = (tmp_path / f'whole.{suffix}').read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ImageError, match=r"^cannot read image 3, '.*photo\.jpg': \w+: ."):
            read_image(path, 3)
    Image.fromarray(noise).save(path, 'PNG')
    held = path.read_bytes()
    path.write_bytes(held[:41] + bytes(len(held) - 41))  # Not black.
    with pytest.raises(ImageError, match='broken data stream'):
        read_image(path)
    for content, told in [(b'', 'ImageError: the file is empty'), (b'no image at all', 'UnidentifiedImageError: .')]:
        path.write_bytes(content)
        with pytest.raises(ImageError, match=rf"^cannot read image, '.*photo\.jpg': {told}"):
            read_image(path)
    with pytest.raises(ImageError, match=r"^cannot read image 0, '.*nowhere\.jpg': FileNotFoundError: .*nowhere"):
        read_image(tmp_path / 'nowhere.jpg', 0)


def test_decompression_bomb_is_named(tmp_path, monkeypatch):
    Image.new('RGB', (50, 50)).save(tmp_path / 'bomb.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1000)
    with pytest.raises(ImageError, match=r"bomb\.png': DecompressionBombError: Image size \(2500 pixels\) exceeds"):
        read_image(tmp_path / 'bomb.png')


def test_too_many_pixels_are_refused_unread(tmp_path, monkeypatch):
    path = tmp_path / 'large.png'
    Image.new('RGB', (50, 40)).save(path)
    assert read_picture(path, max_pixels=2000).size == (50, 40)
    monkeypatch.setattr(Image.Image, 'load', lambda *args: pytest.fail('it was decoded'))
    with pytest.raises(
        ImageError, match=r"large\.png'.*50 x 40 pixels are more than the 1,999 that are allowed"
    ) as found:
        read_picture(path, max_pixels=1999)
    assert found.value.reason == '50 x 40 pixels are more than the 1,999 that are allowed'
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 900)  # Pillow's error comes first where it is stricter.
    with pytest.raises(ImageError) as found:
        read_picture(path, max_pixels=900)
    assert found.value.reason == '2,000 pixels are more than the 900 that are allowed'


def reason(path):
    with pytest.raises(ImageError) as found:
        read_picture(path)
    again = pickle.loads(pickle.dumps(found.value))  # As it comes from a worker process.
    assert (str(again), again.reason) == (str(found.value), found.value.reason)
    assert '\n' not in found.value.reason and str(path) not in found.value.reason
    return found.value.reason


def test_reasons_are_one_line(tmp_path, monkeypatch):
    path = tmp_path / 'photo.jpg'
    assert reason(path) == 'No such file or directory'
    path.write_bytes(b'')
    assert reason(path) == 'the file is empty'
    path.write_bytes(b'no image')
    assert reason(path) == 'not an image of a known format, or broken from its first bytes on'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    assert 'truncated' in reason(path)
    assert reason(tmp_path) == 'Is a directory'
    os.mkfifo(tmp_path / 'pipe')
    assert reason(tmp_path / 'pipe') == 'Not a regular file'

    path.chmod(0)
    real = Image.open

    def as_anybody(*args, **formats):  # A superuser may read everything.
        user = os.geteuid()
        os.seteuid(65534 if user == 0 else user)
        try:
            return real(*args, **formats)
        finally:
            os.seteuid(user)

    monkeypatch.setattr(Image, 'open', as_anybody)
    assert reason(path) == 'Permission denied'


def test_images_of_any_kind(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'x.png')
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    kinds = [tmp_path / 'x.png', str(tmp_path / 'x.png'), Image.fromarray(pixels), pixels, pixels / 255]
    kinds += [channels_first, channels_first / 255, (channels_first / 255).double(), Image.open(tmp_path / 'x.png')]
    for kind in kinds:
        picture = as_picture(kind)
        assert picture.size == (6, 4) and picture.orientation == 1
        np.testing.assert_array_equal(np.asarray(picture.image), pixels)
    for grey in (pixels[:, :, 0], pixels[:, :, :1], channels_first[:1]):
        np.testing.assert_array_equal(np.asarray(as_picture(grey).image)[:, :, 1], pixels[:, :, 0])
    clear = np.dstack([pixels, np.zeros((4, 6), np.uint8)])
    assert (np.asarray(as_picture(clear).image) == 255).all()  # Transparent: over white.


def test_what_is_no_image(tmp_path):
    with pytest.raises(ValueError, match=r'\[H, W\], \[H, W, 3\] or \[H, W, 4\] \(got \[3, 5, 7\]\)'):
        as_picture(np.zeros((3, 5, 7), np.uint8))
    with pytest.raises(ValueError, match=r'tensor must be \[3, H, W\] or \[1, H, W\] \(got \[5, 7, 3\]\)'):
        as_picture(torch.zeros(5, 7, 3))
    with pytest.raises(ValueError, match=r'float pixels must be in \[0, 1\] \(got values from 0 to 255\)'):
        as_picture(np.array([[0.0, 255.0]]))
    with pytest.raises(ValueError, match=r'pixels must be uint8, or floats in \[0, 1\] \(got int64\)'):
        as_picture(np.zeros((2, 2), np.int64))
    with pytest.raises(ValueError, match=r'\(got \[0, 4, 3\]\)'):
        as_picture(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(TypeError, match=r'a path, the bytes of a file, a Pillow image, .* \(got dict\)'):
        as_picture({})
    path = tmp_path / 'late.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ImageError, match='cannot read an image: OSError: .*truncated'), Image.open(path) as image:
        as_picture(image)


def test_the_bytes_of_a_file(tmp_path):
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (30, 20), 'teal').save(file, 'PNG', exif=exif)
    held = file.getvalue()
    (tmp_path / 'x.png').write_bytes(held)
    expected = read_picture(tmp_path / 'x.png')
    for given in (held, bytearray(held), memoryview(held)):
        found = as_picture(given)
        assert found[1:] == expected[1:] == ((30, 20), 6) and found.image.tobytes() == expected.image.tobytes()
        assert list(images.one_by_one(given)) == [given]
    assert list(images.one_by_one(np.array([held, held], object))) == [held, held]
    with pytest.raises(ImageError, match='30 x 20 pixels are more than the 599') as raised:
        as_picture(held, 599)
    assert str(raised.value).startswith(f'cannot read image, {len(held)} bytes: ')
    for broken, reason in [(b'', 'the file is empty'), (b'/etc/passwd', 'not an image of a known format')]:
        with pytest.raises(ImageError) as raised:
            as_picture(broken)
        assert raised.value.reason.startswith(reason)
