"""Ask a running `adaptflow serve` with the real openai client: openai_check.py URL KEY BASE [ADAPTER].

Every call must be parsed by the client, the streamed form of an answer must say what the whole one says, and what is refused must raise the
client's own errors. The client is installed by `pip install openai==3.57.0`.
"""

import json
import sys

import openai

url, key, base = sys.argv[1:4]
models = sys.argv[3:]
client = openai.OpenAI(base_url=url + "/v1", api_key=key, max_retries=0)
messages = [{"role": "user", "content": "Tell me of the sea."}]
schema = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 10}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
tools = [{"type": "function", "function": {"name": "mult", "parameters": {
    "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}]


def raises(kind, status, **ask):
    try:
        client.chat.completions.create(**{"model": base, "messages": messages, **ask})
    except kind as e:
        assert e.status_code == status, e
        return e
    raise AssertionError(f"{ask} is answered")


ids = [m.id for m in client.models.list()]
assert set(models) <= set(ids), ids
assert client.models.retrieve(base).id == base
for model in models:
    ask = dict(model=model, messages=messages, max_tokens=12, temperature=0)
    whole = client.chat.completions.create(**ask)
    assert whole.choices[0].finish_reason in ("stop", "length")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    text, usage = "", None
    for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for c in chunk.choices:
            text += c.delta.content or ""
    assert text == whole.choices[0].message.content, (text, whole)
    assert usage.completion_tokens == whole.usage.completion_tokens
    drawn = dict(model=model, messages=messages, max_tokens=12, seed=5, temperature=1)
    seeded = [client.chat.completions.create(**drawn).choices[0].message.content for _ in range(2)]
    assert seeded[0] == seeded[1]

    out = client.completions.create(model=model, prompt=["The city", "The sea"], max_tokens=5, temperature=0, n=2)
    assert [c.index for c in out.choices] == [0, 1, 2, 3] and out.choices[0].text == out.choices[1].text
    echo = client.completions.create(model=model, prompt="The city was", max_tokens=1, temperature=0, logprobs=1, echo=True).choices[0]
    assert echo.text.startswith("The city was") and echo.logprobs.token_logprobs[0] is None
    assert len({len(getattr(echo.logprobs, k)) for k in ("tokens", "token_logprobs", "top_logprobs", "text_offset")}) == 1
    stream = client.completions.create(model=model, prompt="The city", max_tokens=5, temperature=0, stream=True)
    assert "".join(c.choices[0].text for c in stream if c.choices) == out.choices[0].text

    top = client.chat.completions.create(**ask, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(top) > 0 and all(len(t.top_logprobs) == 3 and t.logprob == t.top_logprobs[0].logprob for t in top)

    floats = client.embeddings.create(model=model, input=["a text", "another"], encoding_format="float").data
    packed = client.embeddings.create(model=model, input=["a text", "another"]).data
    vectors = [d.embedding for d in floats]
    assert vectors == [list(d.embedding) for d in packed]

    for seed in range(3):
        form = client.chat.completions.create(model=model, messages=messages, max_tokens=120, seed=seed, response_format={
            "type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}).choices[0]
        if form.finish_reason == "stop":
            got = json.loads(form.message.content)
            assert list(got) == ["name", "age"] and isinstance(got["age"], int)
    forced = client.chat.completions.create(model=model, messages=messages, max_tokens=60, temperature=0, tools=tools,
                                            tool_choice={"type": "function", "function": {"name": "mult"}}).choices[0].message
    assert forced.tool_calls[0].function.name == "mult" and isinstance(json.loads(forced.tool_calls[0].function.arguments)["a"], int)

raises(openai.NotFoundError, 404, model="none/such")
assert raises(openai.BadRequestError, 400, temperature=9).body["param"] == "temperature"
assert raises(openai.BadRequestError, 400, max_tokens=10**6).code == "context_length_exceeded"
raises(openai.BadRequestError, 400, messages=[])
if key != "none":
    try:
        openai.OpenAI(base_url=url + "/v1", api_key="wrong", max_retries=0).models.list()
        raise AssertionError("a wrong key is let in")
    except openai.AuthenticationError:
        pass
print("openai", openai.__version__, "agrees for", ", ".join(models))
