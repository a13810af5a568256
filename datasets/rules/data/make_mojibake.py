"""Writes mojibake.txt from an installed ftfy (Apache-2.0, Robyn Speer): ftfydata.py FILE. Line 2: the expression of unlikely sequences, without its
white space; line 3: that of embedded UTF-8."""
import re, sys, ftfy
from ftfy import badness, chardata
def flat(p):
    # verbose expressions: white space outside classes, and comments, do not count
    out, in_class, i = [], False, 0
    while i < len(p):
        c = p[i]
        if in_class:
            out.append(c)
            if c == ']': in_class = False
        elif c == '[':
            in_class = True; out.append(c)
        elif c.isspace() and c in ' \n\t\r':
            pass
        elif c == '#':
            while i < len(p) and p[i] != '\n': i += 1
        else: out.append(c)
        i += 1
    return ''.join(out)
esc = lambda s: ''.join(c if 32 <= ord(c) < 127 else '\\x{%X}' % ord(c) for c in s)
b, u = badness.BADNESS_RE, chardata.UTF8_DETECTOR_RE
bp = flat(b.pattern); up = flat(u.pattern)
assert b.flags & re.X and u.flags & re.X
open(sys.argv[1], 'w', encoding='utf-8').write('# ftfy %s\n%s\n%s\n' % (ftfy.__version__, esc(bp), ''.join(c if 32 <= ord(c) < 127 else '\\u%04X' % ord(c) for c in up)))
