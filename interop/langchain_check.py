"""Ask a running `adaptflow serve` through LangChain: langchain_check.py URL KEY BASE [ADAPTER ADAPTER].

Chat, completions, embeddings, streams, batches, tools and structured output of langchain-openai, and a chain that routes questions to two
adapters. Installed by `pip install langchain-openai==1.7.4`.
"""

import sys

from langchain_core.runnables import RunnableBranch
from langchain_openai import ChatOpenAI, OpenAI, OpenAIEmbeddings
from pydantic import BaseModel, Field

url, key, base = sys.argv[1:4]
adapters = sys.argv[4:] or [base, base]
at = dict(base_url=url + "/v1", api_key=key, max_retries=0)


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=10)
    age: int


def mult(a: int) -> int:
    """Multiply."""
    return 2 * a


chat = ChatOpenAI(model=base, temperature=0, max_tokens=12, **at)
said = chat.invoke("hello")
assert said.content and said.usage_metadata["output_tokens"] > 0
assert "".join(c.content for c in chat.stream("hello")) == said.content
assert sum(c.usage_metadata["output_tokens"] for c in ChatOpenAI(model=base, max_tokens=4, stream_usage=True, **at).stream("hello")
           if c.usage_metadata) > 0
assert [m.content for m in chat.batch(["hello", "hello", "Tell me more."])][:2] == [said.content] * 2

long = ChatOpenAI(model=base, temperature=0, max_tokens=150, seed=1, **at)
for method in ("json_schema", "function_calling"):
    try:
        got = long.with_structured_output(Person, method=method, include_raw=True).invoke("Who is it?")
        assert got["parsed"] is None and got["parsing_error"] or isinstance(got["parsed"].age, int), got
    except Exception as e:  # a text that was cut at max_tokens
        assert "length" in str(e).lower(), e
called = long.bind_tools([mult], tool_choice="mult").invoke("two by two")
assert called.tool_calls[0]["name"] == "mult" and isinstance(called.tool_calls[0]["args"]["a"], int), called
assert long.bind_tools([mult]).invoke("hello") is not None

text = OpenAI(model=base, temperature=0, max_tokens=6, **at)
assert text.invoke("The city") == "".join(text.stream("The city"))
vectors = OpenAIEmbeddings(model=base, check_embedding_ctx_length=False, **at).embed_documents(["a text", "another"])
assert len(vectors) == 2 and len(vectors[0]) == len(vectors[1]) > 3

first, second = (ChatOpenAI(model=a, temperature=0, max_tokens=8, **at) for a in adapters)
route = RunnableBranch((lambda q: "sea" in q, first), second)
assert route.invoke("the sea").content == first.invoke("the sea").content
assert route.invoke("the hill").content == second.invoke("the hill").content
print("langchain-openai agrees for", base, *adapters)
