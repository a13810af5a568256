// Package datasets holds the row types of the data stages and what turns one into the next: input files into records ([Open]), documents
// of tokens into packed sequences ([Pack]), sequences into Parquet shards and back ([CreateShard], [OpenShard]). Everything here is a pure
// function of its input and its settings; no Beam.
package datasets
