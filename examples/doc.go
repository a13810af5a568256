// Package examples holds programs that use adaptflow as a library, a folder each:
//
//   - train: a LoRA adapter, without Beam
//   - generate: a base model that answers with each of several adapters
//   - method: an adapter method of the program's own, trained, saved and opened again
//   - objective: an objective of the program's own, with a metric
//   - rule: a cleaning rule of the program's own, in a Beam pipeline that makes shards
//   - extension: a module of its own, whose adaptflow has a method, an objective, a rule, a measure and an export format of its own
//   - beam: a module of its own with Beam pipelines: text to a scored adapter (adapt), prompts with an adapter each (answer), an unbounded
//     source (stream)
//
// Tests build and run them. Smaller pieces are the examples in the documentation of train, peft, tokenize, datasets and infer.
package examples
