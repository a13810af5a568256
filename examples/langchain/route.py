"""A LangChain chain that asks one adapter or another of a running `adaptflow serve`: route.py [URL KEY [FIRST SECOND BASE]]."""

import sys

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableBranch, RunnablePassthrough
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field

url, key = (sys.argv[1:] + ["http://127.0.0.1:8000", "none"][len(sys.argv[1:]):])[:2]
first, second, base = (sys.argv[3:] + ["sums", "stories", "lm-en-5m"][len(sys.argv[3:]):])[:3]


def model(name, **more):
    """A model of the server is chosen by its name: the base's or an adapter's."""
    return ChatOpenAI(model=name, base_url=url + "/v1", api_key=key, temperature=0, max_tokens=24, **more)


# Numbers go to the first adapter, all else to the second.
ask = ChatPromptTemplate.from_messages([("system", "Answer in one line."), ("human", "{question}")])
route = RunnableBranch((lambda x: any(c.isdigit() for c in x["question"]), ask | model(first)), ask | model(second))
chain = {"question": RunnablePassthrough()} | route | StrOutputParser()

questions = ["How much is 3 and 4?", "Who built the city?"]
for question, answer in zip(questions, chain.batch(questions)):  # both adapters answer in the same passes over the base
    print(f"{question} -> {answer!r}")
    assert answer == chain.invoke(question)
for piece in chain.stream(questions[0]):
    print(piece, end="", flush=True)
print()


class Person(BaseModel):
    """A person."""

    name: str = Field(max_length=12)
    age: int = Field(ge=0, le=150)


# The server lets pass nothing but JSON of this schema, whatever the model is.
print(model(base, seed=1).bind(max_tokens=120).with_structured_output(Person, include_raw=True).invoke("Who is it?")["raw"].content)
