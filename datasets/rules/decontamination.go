package rules

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
)

// Decontamination drops documents that share an n-gram of words with an evaluation set (Brown et al. 2020, "Language Models are Few-Shot
// Learners", appendix C), with datatrove's arithmetic: n-grams of the simplified text, of the labels, of the queries where asked for, and
// of those that run from a query into its label.
type Decontamination struct {
	Tasks             []DecontaminationTask `yaml:"tasks" json:"tasks" help:"benchmarks whose questions and answers must not occur: name, path, query and label each"`
	NGrams            int                   `yaml:"n_grams" json:"n_grams" help:"words of a sequence that is compared"`
	FindQueryNGrams   bool                  `yaml:"find_query_ngrams" json:"find_query_ngrams" help:"sequences within questions count"`
	FindOverlapNGrams bool                  `yaml:"find_overlap_ngrams" json:"find_overlap_ngrams" help:"sequences across question and answer count"`

	pairs []taskPair
	once  *sync.Once
	index map[uint64]int32
}

// DecontaminationTask is an evaluation set: JSONL files with a query and a label each line.
type DecontaminationTask struct {
	Name  string `yaml:"name" json:"name" help:"name of the benchmark"`
	Path  string `yaml:"path" json:"path" help:"file or glob of the benchmark"`
	Query string `yaml:"query" json:"query" help:"field of the question or prompt; empty for none"`
	Label string `yaml:"label" json:"label" help:"field of the answer; empty for none"`
}

type taskPair struct {
	task         int32
	query, label string
	hasQuery     bool
}

// NewDecontamination returns the reference's settings.
func NewDecontamination() *Decontamination {
	return &Decontamination{NGrams: 12, FindOverlapNGrams: true}
}

// Name is "decontamination".
func (*Decontamination) Name() string { return "decontamination" }

// Files implements [Reader].
func (c *Decontamination) Files() (files []string) {
	for _, t := range c.Tasks {
		files = append(files, t.Path)
	}
	return files
}

// Move implements [Reader]. Of a glob each file is a task of its own. A task without a name is called as its path is written, or, where
// that leads through folders of this machine, by its last element.
func (c *Decontamination) Move(place func(string) (string, error)) error {
	var moved []DecontaminationTask
	for _, t := range c.Tasks {
		files := []string{t.Path}
		if storage.IsLocal(t.Path) {
			var err error
			if files, err = storage.Glob(t.Path); err != nil {
				return err
			}
			if p := storage.Local(t.Path); t.Name == "" && !filepath.IsLocal(p) {
				t.Name = filepath.Base(p)
			}
		}
		t.Name = cmp.Or(t.Name, t.Path)
		for _, f := range files {
			if err := move(&f, place); err != nil {
				return err
			}
			t.Path = f
			moved = append(moved, t)
		}
	}
	c.Tasks = moved
	return nil
}

// Check implements [Reader].
func (c *Decontamination) Check() error {
	if c.NGrams < 1 {
		return fmt.Errorf("decontamination: n_grams is %d; it must be at least 1", c.NGrams)
	}
	if len(c.Tasks) == 0 {
		return errors.New("decontamination: no tasks are named; write tasks: [{name: NAME, path: FILE, query: FIELD, label: FIELD}]")
	}
	for _, t := range c.Tasks {
		if t.Query == "" && t.Label == "" {
			return fmt.Errorf("decontamination: task %q names neither a query nor a label field", t.Name)
		}
	}
	return nil
}

// Prepare reads the evaluation sets.
func (c *Decontamination) Prepare() error {
	if err := c.Check(); err != nil {
		return err
	}
	c.pairs, c.once = nil, &sync.Once{}
	for i, t := range c.Tasks {
		if t.Name == "" {
			c.Tasks[i].Name = t.Path
		}
		files, err := storage.Glob(t.Path)
		if err != nil {
			return fmt.Errorf("decontamination: %w", err)
		}
		for _, f := range files {
			if err := c.read(int32(i), f); err != nil {
				return fmt.Errorf("decontamination: %w", err)
			}
		}
	}
	return nil
}

func (c *Decontamination) read(task int32, path string) error {
	f, err := datasets.OpenText(path)
	if fe := (*datasets.FormatError)(nil); errors.As(err, &fe) {
		return fmt.Errorf("%s is %s (by %s), not JSONL: write a query and a label a line, as JSON", path, fe.Format, fe.By)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	t := c.Tasks[task]
	r := bufio.NewReaderSize(f, 1<<16)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if len(strings.TrimSpace(string(line))) > 0 {
			var row map[string]any
			if err := storage.Unmarshal(line, &row); err != nil {
				return fmt.Errorf("%s, line %d: %w", path, n, err)
			}
			p := taskPair{task: task}
			for _, f := range []struct {
				name string
				to   *string
			}{{t.Query, &p.query}, {t.Label, &p.label}} {
				if f.name == "" {
					continue
				}
				s, ok := row[f.name].(string)
				if !ok {
					return fmt.Errorf("%s, line %d: there is no text in the field %q", path, n, f.name)
				}
				*f.to = s
			}
			p.hasQuery = t.Query != ""
			c.pairs = append(c.pairs, p)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

// Hashes calls do with the hash of each n-gram of a query and its label.
func (c *Decontamination) hashes(p taskPair, s Splitter, do func(uint64)) {
	n := c.NGrams
	each := func(words []string) {
		for i := 0; i+n <= len(words); i++ {
			do(xxhash.Sum64String(strings.Join(words[i:i+n], " ")))
		}
	}
	label := s.Words(Simplify(p.label))
	each(label)
	if !p.hasQuery {
		return
	}
	query := s.Words(Simplify(p.query))
	if c.FindQueryNGrams {
		each(query)
	}
	if c.FindOverlapNGrams {
		for i := range n - 1 {
			if a := n - 1 - i; len(query) >= a && len(label) >= i+1 {
				do(xxhash.Sum64String(strings.Join(append(append([]string(nil), query[len(query)-a:]...), label[:i+1]...), " ")))
			}
		}
	}
}

// Apply looks for the first n-gram of the document that is in the index.
func (c *Decontamination) Apply(d *Doc) Verdict {
	c.once.Do(func() {
		c.index = map[uint64]int32{}
		for _, p := range c.pairs {
			c.hashes(p, d.Splitter, func(h uint64) { c.index[h] = p.task })
		}
	})
	words := d.Splitter.Words(Simplify(d.Text))
	v := keep(d)
	EachGram(words, c.NGrams, func(gram []byte) bool {
		t, ok := c.index[xxhash.Sum64(gram)]
		if ok {
			v = Verdict{Reason: "contaminated", Value: string(gram), Threshold: "no n-gram of " + c.Tasks[t].Name}
		}
		return !ok
	})
	return v
}
