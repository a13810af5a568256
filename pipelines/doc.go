// Package pipelines is a house of rooms, which compose the transforms into whole pipelines; it has nothing of its own. From the lowest:
//
//   - runners: where Beam runs, and the program as its worker
//   - drive: a training job driven through a runner
//   - report: what people are shown: files, tables, pages, pictures
//   - run: one run of a recipe and its records: open, prepare, train, measure, publish, resume
//   - kinds: the kinds of runs, a row each
//   - inspect, bench, vocabulary: what files and folders hold; measurements of this machine; vocabularies trained and extended
package pipelines
