"""Sphinx: the pages of this folder and the docstrings of the library become HTML that opens from disk.

Formulas become MathML while the pages are built, by docutils' own converter: browsers draw it without the network and
without a script, where MathJax would be fetched from a server by every reader.
"""

import ast
import inspect
import pydoc
import sys
import warnings
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
warnings.filterwarnings('ignore', r'.*torch\.jit')  # PyG's, when it is imported.

import mlsgm_pyg  # noqa: E402

project = 'mlsgm_pyg'
author = 'The mlsgm_pyg authors'
copyright = author
version = release = mlsgm_pyg.__version__

extensions = ['sphinx.ext.autodoc', 'sphinx.ext.napoleon', 'sphinx.ext.viewcode']
exclude_patterns = ['_build']
html_theme = 'furo'
html_title = f'{project} {release}'
html_math_renderer = 'mathml'
html_static_path = ['static']
html_css_files = ['style.css']
html_copy_source = False
html_show_sphinx = False

autodoc_member_order = 'bysource'
autodoc_default_options = {'members': True, 'exclude-members': 'count, index'}  # A tuple's own.
autodoc_inherit_docstrings = False
autodoc_preserve_defaults = True
add_module_names = False
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [('Shapes', 'notes_style')]
napoleon_use_ivar = True

nitpicky = True
nitpick_ignore_regex = [('py:.*', r'(?!mlsgm_pyg\.).*')]  # Our own names must resolve; others' are not at hand offline.


def to_mathml(translator: nodes.NodeVisitor, node: nodes.Element, as_block: bool) -> None:
    """Writes a formula as MathML; one that the converter cannot read is a warning with its place."""
    code = node.astext()
    try:
        mathml = tex2mathml(code, as_block)
    except MathError as error:
        logging.getLogger(__name__).warning('%s: %s', ' '.join(code.split()), error, location=node)
        mathml = translator.encode(code)
    translator.body.append(f'<div class="math">{mathml}</div>' if as_block else mathml)
    raise nodes.SkipNode


class Verbs(Directive):
    """A section with the usage of every verb of a folder: every file of it that has a `main`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        out = []
        for path in sorted((ROOT / self.arguments[0]).glob('[!_]*.py')):
            tree = ast.parse(path.read_text())
            if not any(isinstance(part, ast.FunctionDef) and part.name == 'main' for part in tree.body):
                continue
            self.state.document.settings.record_dependencies.add(str(path))
            section = nodes.section(ids=[f'verb-{path.stem}'], names=[path.stem])
            section += nodes.title('', path.stem)
            section += nodes.literal_block('', inspect.cleandoc(ast.get_docstring(tree)), language='text')
            out.append(section)
        return out


def to_definition(app, env, node: nodes.Element, content: nodes.Element) -> nodes.Element | None:
    """A name as it is imported (mlsgm_pyg.nn.NodeConv) leads to where it is defined and described."""
    found = pydoc.locate(node.get('reftarget', '')) if node.get('reftarget', '').startswith('mlsgm_pyg.') else None
    name = f'{getattr(found, "__module__", "")}.{getattr(found, "__qualname__", "")}'
    if name in ('.', node.get('reftarget')):
        return None
    return env.domains['py'].resolve_xref(env, node['refdoc'], app.builder, node['reftype'], name, node, content)


def setup(app) -> None:
    inline = (lambda translator, node: to_mathml(translator, node, False), None)
    block = (lambda translator, node: to_mathml(translator, node, True), None)
    app.add_html_math_renderer('mathml', inline, block)
    app.add_directive('verbs', Verbs)
    app.connect('missing-reference', to_definition)
