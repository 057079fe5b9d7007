"""Reads a page of HTML back."""

from html.parser import HTMLParser


class Reader(HTMLParser):
    """The elements of a page as a browser sees them, and the text outside of scripts and styles."""

    def __init__(self, page: str):
        super().__init__()
        self.elements, self.words, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.open.append(name)

    def handle_endtag(self, name):
        self.open.append(f'/{name}')

    def handle_data(self, data):
        if self.open[-1:] not in (['script'], ['style']):
            self.words.append(data)

    def all(self, name):
        return [attributes for other, attributes in self.elements if other == name]
