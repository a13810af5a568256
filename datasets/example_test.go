package datasets_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/datasets"
)

// The rows of a file come one by one; what cannot be used comes with its reason. Format and compression are detected.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "datasets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "rows.jsonl")
	rows := `{"text": "The ferry leaves at seven."}
{"title": "no text"}
{"text": "It comes back at nine."}
`
	if err := os.WriteFile(file, []byte(rows), 0o600); err != nil {
		log.Fatal(err)
	}
	r, err := datasets.Open(file, "rows.jsonl", datasets.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	for {
		record, reject, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			log.Fatal(err)
		case reject != nil:
			fmt.Println(reject.Index, "rejected:", reject.Reason)
		default:
			fmt.Println(record.DocID(), record.Text)
		}
	}
	// Output:
	// rows.jsonl#0 The ferry leaves at seven.
	// 1 rejected: missing_text
	// rows.jsonl#2 It comes back at nine.
}

// Tokens of documents are packed into sequences; attention stays within each document.
func ExamplePack() {
	docs := []datasets.Doc{{ID: "a", Tokens: []int32{1, 2, 3}}, {ID: "b", Tokens: []int32{4, 5, 6, 7, 8}},
		{ID: "c", Tokens: []int32{9, 10}}}
	o := datasets.PackOptions{Strategy: datasets.PackBFD, SequenceLength: 5, IsolateDocuments: true}
	stats, err := datasets.Pack(docs, o, func(s datasets.Sequence) error {
		fmt.Println(s.InputIDs, "documents", s.DocIDs, "begin at", s.DocStarts, "labels", s.Labels)
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Tokens, "tokens in", stats.Sequences, "sequences")
	// Output:
	// [4 5 6 7 8] documents [b] begin at [0] labels [-100 5 6 7 8]
	// [1 2 3 9 10] documents [a c] begin at [0 3] labels [-100 2 3 -100 10]
	// 10 tokens in 2 sequences
}

// Shards are Parquet files, which pyarrow and Hugging Face datasets read too.
func ExampleCreateShard() {
	dir, err := os.MkdirTemp("", "datasets")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "train-00000-of-00001.parquet")
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: 4, IsolateDocuments: true})
	if err != nil {
		log.Fatal(err)
	}
	s := datasets.Sequence{InputIDs: []int32{5, 6, 7}, Labels: []int32{datasets.NoLoss, 6, 7}, DocStarts: []int32{0}}
	if err := w.Write(&s); err != nil {
		log.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		log.Fatal(err)
	}

	shard, err := datasets.OpenShard(path)
	if err != nil {
		log.Fatal(err)
	}
	defer shard.Close()
	for i := range shard.NumRowGroups() {
		rows, err := shard.ReadRowGroup(i)
		if err != nil {
			log.Fatal(err)
		}
		for _, r := range rows {
			fmt.Println(shard.Meta().Kind, r.InputIDs, r.Labels)
		}
	}
	// Output: lm [5 6 7] [-100 6 7]
}
