#!/usr/bin/env python3
"""Makes templates.json: small templates, one a part of the language, rendered by transformers (4.57.6 with Jinja 3.1).

    make.py            (needs transformers and jinja2)
"""
import json
import os
from transformers.utils.chat_template_utils import render_jinja_template
import transformers.utils.chat_template_utils as ctu
import datetime
class F(datetime.datetime):
    @classmethod
    def now(cls,tz=None): return datetime.datetime(2024,7,26,9,5,3)
ctu.datetime=F
M=[dict(role="system",content="S\n  x"),dict(role="user",content="Hello <b> & 'q'"),dict(role="assistant",content=None,tool_calls=[dict(function=dict(name="f",arguments={"b":1,"a":[1.5,None,True]}))]),dict(role="tool",content=[{"type":"text","text":"ü"}]),dict(role="assistant",content="done")]
T=r'''
{{ 1 + 2 * 3 - 4 / 2 }} {{ 7 // -2 }} {{ -7 % 3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 1e3 }} {{ 10 / 4 }} {{ 1_000 }}
{{ 'a' + none }}
{{ 'a' + x }}
{{ 'a' ~ none ~ true ~ 1.0 }}
{{ none }} {{ true }} {{ x }} {{ [1, 'a', none, x] }}
{{ {'a': 1, 'b': [1, (2, 3), (4,)]} }}
{{ x.y }}
{{ messages[0].nope }}|{{ messages[99] }}|{{ messages[0]['nope'] }}
{{ messages[99].a }}
{{ none.a }}
{{ messages[0].nope.deeper }}
{{ messages | length }} {{ messages|map(attribute='role')|join(', ') }}
{{ messages|selectattr('role','equalto','user')|list|length }} {{ messages|rejectattr('content')|list|length }} {{ messages|selectattr('tool_calls','defined')|map(attribute='role')|list }}
{% for m in messages if m.content is string %}{{ loop.index }}/{{ loop.length }}{{ loop.first }}{{ loop.last }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if not loop.last }};{% else %}none{% endfor %}
{% for m in [] %}a{% else %}empty{% endfor %}
{% for k, v in messages[2].tool_calls[0].function.arguments.items() %}{{ k }}={{ v }},{% endfor %}{% for k in messages[0] %}{{ k }} {% endfor %}
{{ messages[2].tool_calls[0].function.arguments | tojson }} {{ messages | tojson(indent=2) }} {{ messages[1]|tojson(ensure_ascii=True) }} {{ {'z':1,'a':{}} | tojson(sort_keys=true, separators=(',', ':')) }} {{ [] | tojson(indent=2) }}
{{ messages[2].tool_calls[0].function.arguments | items | list }} {{ messages[0] | dictsort }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c }}{{ d }}
{% set x %}block {{ 1 }}{% endset %}[{{ x }}]{% set y | upper %}abc{% endset %}{{ y }}
{% set ns = namespace(a=1, b='x') %}{% for i in range(3) %}{% set ns.a = ns.a + i %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c }}
{% set v = 1 %}{% for i in range(3) %}{% set v = v + i %}{{ v }}{% endfor %}{{ v }}
{% if true %}{% set w = 5 %}{% endif %}{{ w }}
{% macro m(a, b='B', *args) %}x{% endmacro %}
{% macro m(a, b='B') %}[{{ a }}|{{ b }}|{{ varargs }}|{{ kwargs }}]{% endmacro %}{{ m(1) }}{{ m(1, 2, 3) }}{{ m(b=1) }}{{ m(a=1, c=2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}<{{ caller(a) }}>{% endmacro %}{% call(z) m(3) %}c{{ z }}{% endcall %}
{% macro m(a) %}{{ a is defined }}{% endmacro %}{{ m() }}
{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ m() }}
{% filter upper %}abc {{ 'd' }}{% endfilter %} {% with a=1, b=2 %}{{ a + b }}{% endwith %}{{ a }}
{% raw %}{{ x }} {% if %}{% endraw %}{# c #}x{#- d -#} y
  {%- if true -%}  a  {%- endif -%}  b
  {% if true %}
  c
  {% endif %}
d {% if true %} e {% endif %}  
f
{{- ' g ' -}}
h {%+ if true %} i {%+ endif +%}
j
{{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'abc'[::-1] }} {{ 'abcdef'[1:4] }} {{ [1,2,3][1:] }} {{ [1,2,3][::2] }} {{ 'abc'[5:] }}
{{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.rsplit(' ', 1) }} {{ 'a\nb\n'.splitlines() }}
{{ 'Hello World'.lower() }} {{ 'hello world'.title() }} {{ 'hELLO'.capitalize() }} {{ 'x'.upper() }} {{ 'abc'.find('c') }} {{ 'abc'.replace('b', 'X') }} {{ 'ab'.startswith(('x','a')) }} {{ 'xxabxx'.strip('x') }} {{ '%s-%d' % ('a', 3) }} {{ '{} {x}'.format(1, x=2) }} {{ '-'.join(['a','b']) }} {{ 'abc'.removeprefix('a') }} {{ 'a'.zfill(3) }} {{ 'a-b'.partition('-') }}
{{ 'a' in 'abc' }} {{ 'x' not in 'abc' }} {{ 1 in [1,2] }} {{ 'role' in messages[0] }} {{ 'x' in x }}
{{ 1 in 'abc' }}
{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' < 'b' }} {{ none == false }} {{ x == y }} {{ [1] == [1] }} {{ (1,) == [1] }}
{{ 1 < 'a' }}
{{ not true or true }} {{ not (true and false) }} {{ '' or 'b' }} {{ 'a' and 'b' }} {{ none or x or 0 }}
{{ 'a' if true }}{{ 'b' if false }} {{ ('a' if false else 'b') ~ 'c' }} {{ [1 if true else 2, 3] }} {{ 'x' if 1 else 'y' if 2 else 'z' }}
{{ 3 is odd }} {{ 4 is even }} {{ 9 is divisibleby 3 }} {{ 9 is divisibleby(2) }} {{ none is none }} {{ x is undefined }} {{ 'a' is string }} {{ 1 is number }} {{ 1.5 is float }} {{ true is boolean }} {{ [] is sequence }} {{ {} is mapping }} {{ 'a' is iterable }} {{ 5 is sameas 5 }} {{ 'A' is upper }} {{ 1 is in [1] }} {{ true is true }} {{ 2 is gt 1 }} {{ 1 is not none }} {{ 'a' is eq 'a' }} {{ raise_exception is callable }}
{{ [3,1,2]|sort }} {{ ['b','A']|sort }} {{ ['b','A']|sort(case_sensitive=true) }} {{ [1,2,3]|sum }} {{ [1,2,3]|max }} {{ []|max }} {{ [1,1,2]|unique|list }} {{ 'abc'|reverse }} {{ [1,2]|reverse|list }} {{ [1,2,3,4,5]|batch(2, 'x')|list }} {{ [1,2,3,4,5]|slice(2)|list }} {{ 'abc'|first }} {{ []|first }}|{{ 'a b'|wordcount }} {{ -3|abs }} {{ 3.7|int }} {{ '5'|int + 1 }} {{ 'x'|int(9) }} {{ '1.5'|float }} {{ 2.567|round(1) }} {{ 2.5|round }} {{ 42|string ~ 'x' }} {{ 'a<b'|e }} {{ 'ab'|center(6) }}| {{ 'a b c d e f'|truncate(6) }} {{ 'foo bar'|title }} {{ x|default('d') }} {{ ''|default('d') }} {{ ''|d('d', true) }} {{ '  a '|trim }}| {{ 'xax'|trim('x') }} {{ 'a\nb'|indent }} {{ 'a\n\nb'|indent(2, true) }} {{ 'a b/c'|urlencode }} {{ '%s'|format(3) }} {{ [{'a':1},{'a':2}]|sum(attribute='a') }} {{ [{'a':1,'b':2},{'a':1,'b':3}]|groupby('a')|list }} {{ [1,2]|map('string')|join('+') }} {{ [0,1,'']|select|list }} {{ [1,2,3]|reject('odd')|list }} {{ 'abc'|list }} {{ 'aXb'|lower|capitalize }} {{ [1,2]|last }} {{ 'aaa'|replace('a','b',2) }} {{ [[1,2],[3]]|map('first')|list }} {{ [1, 2]|join }} {{ {'a':1}|length }} {{ 1|tojson }} {{ 'é"\u2028</script>'|tojson }}
{{ 'x'|nofilter }}
{{ 1 is notest }}
{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [[1,[2,3]]] recursive %}{{ x[0] if x is sequence and x is not string else x }}{% if x is sequence %}({{ loop(x[1]) }}){% endif %}{% endfor %}
{% for a in [1,2,3,4] %}{{ loop.cycle('x','y') }}{{ loop.changed(a // 2) }}{{ loop.depth }}{{ loop.revindex }} {% endfor %}
{% for a, b in [(1,2),(3,4)] %}{{ a }}-{{ b }} {% endfor %}{% for a in 'xyz' %}{{ a }},{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for a in 5 %}{% endfor %}
{{ range(3)|list }} {{ range(1, 10, 3)|list }} {{ range(5, 0, -2)|list }} {{ dict(a=1, b=2) }} {{ cycler is defined }} {{ strftime_now('%d %B %Y, %H:%M') }} {{ joiner('|') is callable }}
{{ raise_exception('boom ' ~ 3) }}
{{ messages[0].items }}
{{ messages[3].content[0].text }} {{ messages[3]['content'][0]['type'] }} {{ (messages[3].content|first).text }} {{ messages.0.role }}
{{ messages[0].get('nope', 'def') }} {{ messages[0].keys()|list }} {{ messages[0].values()|list }} {{ [1,2,1].count(1) }} {{ [1,2].index(2) }}
{{ messages.append(1) }}
{% if x %}a{% elif messages %}b{% else %}c{% endif %}
{{ "a" "b" }} {{ 'it\'s' }} {{ "tab\tnl\\n" }} {{ '\u00e9\x41' }} {{ '\d' }}
{{ 0.1 + 0.2 }} {{ 1e20 }} {{ 1e-7 }} {{ 100000000000000000.0 }} {{ 3.0 }} {{ 1/3 }} {{ 5 % 2.5 }} {{ 7.5 // 2 }}
{{ 1/0 }}
{{ [1,2] + [3] }} {{ (1,2) + (3,) }} {{ [1] * 3 }} {{ 'ab' * 2 }} {{ 2 * 'ab' }} {{ 'x' * -1 }}
{{ [] + () }}
{{ -'a' }}
{{ 'a' - 1 }}
{{ x + 1 }}
{{ x() }}
{{ 'a'() }}
{{ loop }}
{% set loop_messages = messages[1:] %}{{ loop_messages|length }}{% set m = messages[-1] %}{{ m['role'] }}
{% if messages[0]['role'] == 'system' and messages[0]['content'] is not none %}{{ messages[0]['content']|trim }}{% endif %}
{% if 'tools' in messages[0] or tools is defined and tools is not none %}T{% else %}N{% endif %}{% if not tools %}n{% endif %}{% if tools is none %}z{% endif %}
{%- macro json_to_python_type(json_spec) %}{%- set basic = {"string": "str", "number": "float"} %}{%- if basic[json_spec.type] is defined %}{{- basic[json_spec.type] }}{%- elif json_spec.type == "array" %}{{- "list[" + json_to_python_type(json_spec.items) + "]"}}{%- else %}{{- "Any" }}{%- endif %}{%- endmacro %}{{ json_to_python_type({'type': 'array', 'items': {'type': 'string'}}) }}
{{ {'items': 5}.items }}|{{ {'items': 5}['items'] }}
{% set ns = namespace() %}{% set ns.x = [] %}{% set ns.x = ns.x + [1] %}{{ ns.x }}
{% generation %}a{% endgeneration %}b{% generation %}c{% endgeneration %}
{{ messages|map('upper') }}
{{ ''.__class__ }}
{{ messages.__len__ }}
{{ 'a'|attr('upper') }}
{% block a %}x{% endblock %}
{{ "%.2f"|format(3.14159) }} {{ "%05d" % 42 }} {{ '%r' % 'a' }}
{{ 'ﬀß'.upper() }} {{ 'İ'.lower() }} {{ "o'neil x-ray"|title }} {{ "o'neil x-ray".title() }}
{{ [none, true, 'a']|tojson }}{{ (1,2)|tojson }} {{ x|tojson }}
{% set x = none %}{{ x is none }}{{ x is defined }}
{{ messages|batch(2)|map('length')|list }} {{ [1,2,3]|random is defined }}
{{ 5|default(none) is none }} {{ [1, [2]] in [[1, [2]]] }} {{ 1 if x is not defined else 2 }}
{% for message in messages %}{% if loop.index0 == 0 and message.role == 'system' %}{% set sys = message.content %}{% endif %}{% endfor %}{{ sys is defined }}
a
{% for m in messages %}
    {{ m.role }}
{%- endfor %}

{% if x %}{% else %}
q{% endif %}

z
{{ 1 }}
'''.strip('\n')
# join multi-line templates: lines are separate templates, except blocks below
templates=[l for l in T.split('\n')]
templates+=["  {%- if true -%}  a  {%- endif -%}  b\n  {% if true %}\n  c\n  {% endif %}\nd {% if true %} e {% endif %}  \nf\n{{- ' g ' -}}\nh {%+ if true %} i {%+ endif +%}\nj\n\n",
"a\n{% for m in messages %}\n    {{ m.role }}\n{%- endfor %}\n\n{% if x %}{% else %}\nq{% endif %}\n\nz\n","{# c #}\nx\n  {# d #}\ny\r\nz\r{% raw %}\n a {% endraw %}\nb","\t{% set a = 1 %}\n\n{{ a }}\n","x {# c #}\n y","{%- raw -%} x {%- endraw -%} y", "a\n   {%- if true %} b{% endif %}\n  {% raw %} q\n  {% endraw %}\n c"]
out=[]
for t in templates:
    rec=dict(template=t)
    try:
        r,g=render_jinja_template([M],chat_template=t,return_assistant_tokens_mask=True,bos_token='<s>',eos_token='</s>')
        rec['expected']=r[0]; rec['spans']=g[0]
    except Exception as e:
        rec['error']=str(e); rec['error_type']=type(e).__name__
    out.append(rec)
json.dump(dict(messages=M,cases=out),open(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'templates.json'),'w'),ensure_ascii=False,indent=0)
print(len(out))
