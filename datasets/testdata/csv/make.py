"""Writes python_csv.json: what Python's csv module reads of files, the columns text and url first. Run in this folder."""
import csv, io, json

CASES = {
    "plain": (",", "text,url\na,b\nc,d\n"),
    "no last line end": (",", "text,url\na,b"),
    "crlf": (",", "text,url\r\na,b\r\nc,d\r\n"),
    "crlf in a field": (",", 'text,url\n"line one\r\nline two",1\nx,2\n'),
    "lf in a field": (",", 'text,url\r\n"line one\nline two",1\r\nx,2\r\n'),
    "doubled marks": (",", 'text,url\n"he said ""hi"" there",1\n"""",2\n"""a""",3\n'),
    "bare marks": (",", 'text,url\nhe said "hi" there,1\n5" disk,"6"\na""b,2\n'),
    "delimiter in a field": (",", 'text,url\n"a, b",","\n'),
    "empty fields": (",", 'text,url\nx,\ny,""\n'),
    "spaces": (",", 'text,url\n a , b \n a "x" ,c\n'),
    "mark after a space": (",", 'text,url\na, "b"\n'),
    "empty lines": (",", 'text,url\n\na,b\n\n\r\n"c\n\nd",e\n\n'),
    "semicolon": (";", 'text;url\n"a; b";1,5\nc;d\n'),
    "pipe": ("|", 'text|url\na|b\n"c|d"|e\n'),
    "tab": ("\t", 'text\turl\na, b\tc\n"d\te"\tf\n'),
    "quoted header": (",", '"text","url"\n"a","b"\n'),
    "unicode": (",", "text,url\ngrüß,ß\n\"日本\n語\",x\n"),
    "nul": (",", "text,url\na\0b,c\n"),
    "only marks": (",", 'text,url\n"x",""""""\n'),
    "trailing delimiter": (",", "text,url,\na,b,\n"),
    "many lines in a field": (",", 'text,url\n"' + "line\r\n" * 50 + '",1\nx,2\n'),
}

out = []
for name, (delimiter, content) in CASES.items():
    rows = [r for r in csv.reader(io.StringIO(content, newline=""), delimiter=delimiter) if r]
    out.append({"Name": name, "Delimiter": delimiter, "Content": content, "Rows": rows})
with open("python_csv.json", "w") as f:
    json.dump(out, f, indent=1, ensure_ascii=True)
    f.write("\n")
