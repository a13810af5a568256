package tokenize

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/tokenize/jinja"
)

// TestTemplateOfARun: a row that a template refuses is rejected; a template that works on and on at every row ends the run, in whatever
// instance of the DoFn, and the error names its file. Another run of the process may take as much, and so may one that begins anew.
func TestTemplateOfARun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "slow.jinja")
	const text = "{% if messages[0].content == 'no' %}{{ raise_exception('not this one') }}{% endif %}{% for i in range(100000) %}{% for " +
		"j in range(2) %}{% if i %}{% endif %}{% endfor %}{% endfor %}{{ messages[0].content }}"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	defer Forget("run")
	defer Forget("other")
	open := func(run string) *rowEncoder {
		f := &EncodeFn{OutDir: run, TokenizerDir: filepath.Join("..", "..", "tokenize", "testdata", "tokenizer"), ChatTemplate: file}
		if err := f.Setup(); err != nil {
			t.Fatal(err)
		}
		return f.rows
	}
	row := func(content string) *datasets.Record {
		return &datasets.Record{Row: `{"kind":"messages","messages":[{"role":"user","content":"` + content + `"}]}`}
	}
	if _, err := open("run").encode(row("no")); !errors.As(err, new(*rowError)) || !strings.Contains(err.Error(), "slow.jinja") {
		t.Fatalf("a row that is refused: %v", err)
	}
	budgets.runs["run"][text] = jinja.NewBudget(8_000_000) // less than there is, to be done sooner
	rows := 0
	var err error
	for ; err == nil && rows < 500; rows++ {
		_, err = open("run").encode(row("yes"))
	}
	if err == nil || errors.As(err, new(*rowError)) || !strings.Contains(err.Error(), "slow.jinja") {
		t.Errorf("after %d rows: %v", rows, err)
	}
	if _, err := open("other").encode(row("yes")); err != nil {
		t.Errorf("another run: %v", err)
	}
	Forget("run")
	if _, err := open("run").encode(row("yes")); err != nil {
		t.Errorf("the run anew: %v", err)
	}
}

// TestTokenizersAreFreed: instances of DoFns share a tokenizer; when the last is gone, nothing of it is left.
func TestTokenizersAreFreed(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "tokenize", "testdata", "tokenizer"))); err != nil {
		t.Fatal(err)
	}
	settled := func(f func() bool) bool {
		for range 100 {
			if runtime.GC(); f() {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	if !settled(func() bool { return tokenizers.Len() == 0 }) {
		t.Fatalf("%d tokenizers of other tests", tokenizers.Len())
	}
	var fns [2]*EncodeFn
	for i := range fns {
		fns[i] = &EncodeFn{TokenizerDir: dir}
		if err := fns[i].Setup(); err != nil {
			t.Fatal(err)
		}
		runtime.GC()
	}
	if fns[0].t != fns[1].t || tokenizers.Len() != 1 {
		t.Errorf("%d tokenizers for two instances", tokenizers.Len())
	}
	runtime.KeepAlive(fns)
	fns = [2]*EncodeFn{}
	if !settled(func() bool { return tokenizers.Len() == 0 }) {
		t.Errorf("%d tokenizers that nobody has", tokenizers.Len())
	}
}
