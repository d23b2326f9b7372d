"""A page as a reader has it, for tests of what stands where."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}


class Page(HTMLParser):
    """A page as tags, text and tables; complains about tags that don't close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.tables = [], [], [], {}
        self.rows, self.caption = None, None
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in VOID:
            return
        self.open.append(tag)
        if tag == "table":
            self.rows, self.caption = [], ""
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"th", "td"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag == "table":
            self.tables[self.caption.strip()] = [[" ".join(cell.split()) for cell in row] for row in self.rows]

    def handle_data(self, data):
        self.text.append(data)
        if "caption" in self.open:
            self.caption += data
        elif {"th", "td"} & set(self.open) and "sup" not in self.open:
            self.rows[-1][-1] += data

    def prose(self):
        return " ".join("".join(self.text).split())

    def cell(self, caption, line, column):
        head, *rows = self.tables[caption]
        place = next(i for i, name in enumerate(head) if name.startswith(column))
        return next(row[place] for row in rows if row[0] == line)
