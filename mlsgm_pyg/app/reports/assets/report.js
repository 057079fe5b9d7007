// Activation maps: a few numbers each, coloured on a canvas of that size which the browser stretches over the picture.
(() => {
  const stops = [[48, 18, 59], [65, 105, 225], [26, 200, 190], [160, 240, 70], [250, 185, 40], [220, 50, 20]];
  const colours = Array.from({length: 256}, (_, value) => {
    const at = value / 255 * (stops.length - 1);
    const i = Math.min(Math.floor(at), stops.length - 2);
    return stops[i].map((low, k) => Math.round(low + (at - i) * (stops[i + 1][k] - low)));
  });

  function draw(canvas) {
    const [width, height, text] = canvas.dataset.map.split(',');
    const values = atob(text);
    [canvas.width, canvas.height] = [+width, +height];
    const context = canvas.getContext('2d');
    const image = context.createImageData(+width, +height);
    for (let i = 0; i < values.length; i++) {
      const value = values.charCodeAt(i);
      image.data.set([...colours[value], Math.round(200 * (value / 255) ** 1.3)], 4 * i);
    }
    context.putImageData(image, 0, 0);
    canvas.dataset.drawn = '';
  }
  const maps = page.all('canvas[data-map]');
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watch.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, {rootMargin: '600px'});
  maps.forEach((canvas) => watch.observe(canvas));
  addEventListener('beforeprint', () => maps.forEach((canvas) => 'drawn' in canvas.dataset || draw(canvas)));
})();
