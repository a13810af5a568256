"""What adaptflow made goes on in a pipeline: documents by their tokens in the shards: python read.py SHARDS OUT [PipelineOptions]"""

import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def documents(row):
    """One (document, its tokens) for each piece of a packed sequence."""
    starts = list(row["doc_starts"]) + [len(row["input_ids"])]
    return [(d, b - a) for d, a, b in zip(row["doc_ids"], starts, starts[1:])]


with beam.Pipeline(options=PipelineOptions(sys.argv[3:])) as p:
    (p | beam.io.ReadFromParquet(sys.argv[1] + "/*.parquet") | beam.FlatMap(documents) | beam.CombinePerKey(sum)
       | beam.MapTuple(lambda d, n: f"{d}\t{n}") | beam.io.WriteToText(sys.argv[2], shard_name_template=""))
