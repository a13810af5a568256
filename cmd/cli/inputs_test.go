package cli

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
)

// TestInputsFound prepares inputs that were read wrongly and said nothing, as a person would: see testdata/inputs/README.md for what each
// is.
func TestInputsFound(t *testing.T) {
	if testing.Short() {
		t.Skip("loads a model each time")
	}
	in := func(fault, name string) string { return filepath.Join("testdata", "inputs", fault, name) }
	plain := in("B05", "plain.jsonl")
	for _, c := range []struct {
		fault      string
		template   string
		settings   []string
		read, kept int64
		supervised int64  // 0: not compared
		says       string // in what is printed
		code       int
	}{
		{"B01", "multilingual-adaptation", []string{"languages={en-de: {input: [" + in("B01", "pairs.tsv") + "], translation: [en, de]}}"},
			4, 4, 0, "tsv, rows: translation", 0},
		{"B02", "instruction-tuning", []string{"input=" + in("B02", "in.jsonl"), "eval_input=" + in("B02", "in.jsonl")}, 2, 2, 0,
			"rows: alpaca", 0},
		{"B05", "domain-adaptation", []string{"input=" + in("B05", "in.txt"), "eval_input=" + plain}, 30, 30, 0, "text in utf-16le", 0},
		{"B12", "domain-adaptation", []string{"input=" + in("B12", "in.json"), "eval_input=" + plain}, 2, 2, 0, "json, rows: plain", 0},
		{"B14", "instruction-tuning", []string{"input=" + in("B14", "in.jsonl"), "eval_input=" + in("B14", "msg.jsonl"),
			"columns={conversations: conversations}"}, 2, 1, 4, "wrong_row 1", 3},
		{"B16", "instruction-tuning", []string{"input=" + in("B16", "in.jsonl"), "eval_input=" + in("B16", "msg.jsonl"),
			"columns={messages: messages}"}, 1, 1, 5, "rows: messages", 0},
		{"B17", "instruction-tuning", []string{"input=" + in("B17", "in.jsonl"), "eval_input=" + in("B17", "in.jsonl"),
			"row_kind=preference", "columns={chosen: chosen}"}, 2, 2, 0,
			"fields that are not used, with the rows that have them: rejected (2)", 0},
		{"B21", "domain-adaptation", []string{"input=" + in("B21", "in.csv"), "eval_input=" + plain}, 2, 2, 0,
			"fields that are not used, with the rows that have them: id (2)", 0},
	} {
		out := filepath.Join(t.TempDir(), "out")
		args := []string{"prepare", c.template, "--output", out, "--set", "general_input=" + plain}
		for _, s := range c.settings {
			args = append(args, "--set", s)
		}
		cmd := adaptflow(args...)
		said, err := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(said), c.says) {
			t.Errorf("%s: exit %d, %v\n%s", c.fault, code, err, said)
			continue
		}
		m, err := datasets.ReadManifest(filepath.Join(out, "shards"))
		if err != nil {
			t.Errorf("%s: %v", c.fault, err)
			continue
		}
		supervised := int64(0)
		for _, s := range append(m.Train, m.Validation...) {
			supervised += s.Supervised
		}
		if m.Read != c.read || m.Kept != c.kept || c.supervised > 0 && supervised != c.supervised {
			t.Errorf("%s: %d read, %d kept, %d tokens with a loss; want %d, %d, %d", c.fault, m.Read, m.Kept, supervised, c.read,
				c.kept, c.supervised)
		}
	}
}
