"""Pages of any source become JSONL, which adaptflow reads: python write.py FOLDER [PipelineOptions]"""

import json
import sys

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions


def page(i):
    return {"text": f"Page {i} says which file number {i * 7} is, who keeps it and when it was opened.", "url": f"https://example.org/{i}"}


with beam.Pipeline(options=PipelineOptions(sys.argv[2:])) as p:
    (p | beam.Create(range(200)) | beam.Map(page) | beam.Map(json.dumps)
       | beam.io.WriteToText(sys.argv[1] + "/pages", file_name_suffix=".jsonl"))
