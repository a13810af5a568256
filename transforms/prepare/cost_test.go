package prepare

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/datasets/dedupe"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/transforms/jobs"
)

// countingFS is a file system, counted://, of a local folder that counts what is asked of it, by the driver and by the workers of jobs.
type countingFS struct {
	root    string
	running atomic.Bool // a job: what is asked is asked by its workers
	driver  counts
	workers counts
}

type counts struct{ opens, reads, read, puts, written, globs atomic.Int64 }

func (c *counts) String() string {
	return fmt.Sprintf("%d opens, %d reads of %d bytes, %d puts of %d bytes, %d globs", c.opens.Load(), c.reads.Load(), c.read.Load(),
		c.puts.Load(), c.written.Load(), c.globs.Load())
}

func (f *countingFS) by() *counts {
	if f.running.Load() {
		return &f.workers
	}
	return &f.driver
}

func (f *countingFS) local(path string) string {
	return filepath.Join(f.root, strings.TrimPrefix(path, "counted://"))
}

// Glob implements storage.FS.
func (f *countingFS) Glob(pattern string) ([]string, error) {
	f.by().globs.Add(1)
	found, err := filepath.Glob(f.local(pattern))
	for i, p := range found {
		found[i] = "counted:/" + strings.TrimPrefix(p, f.root)
	}
	return found, err
}

type countedFile struct {
	*os.File
	c    *counts
	size int64
}

func (f *countedFile) Size() int64 { return f.size }

func (f *countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	f.c.reads.Add(1)
	f.c.read.Add(int64(n))
	return n, err
}

// OpenReaderAt implements storage.FS.
func (f *countingFS) OpenReaderAt(path string) (storage.ReaderAt, error) {
	c := f.by()
	c.opens.Add(1)
	file, err := os.Open(f.local(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	return &countedFile{file, c, st.Size()}, nil
}

// ReadRange implements storage.Ranges.
func (f *countingFS) ReadRange(path string, off, n int64) ([]byte, error) {
	r, err := f.OpenReaderAt(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b := make([]byte, n)
	if k, err := r.ReadAt(b, off); int64(k) < n {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return b, nil
}

// Put implements storage.FS.
func (f *countingFS) Put(path string, r io.Reader) error {
	c := f.by()
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	c.puts.Add(1)
	c.written.Add(int64(len(raw)))
	if err := os.MkdirAll(filepath.Dir(f.local(path)), 0o700); err != nil {
		return err
	}
	return storage.WriteFile(f.local(path), raw)
}

// Remove implements storage.FS.
func (f *countingFS) Remove(path string) error { return os.RemoveAll(f.local(path)) }

// distinct writes a text of about n bytes in files of JSON lines: documents of distinct words, one in ten of which is another with a word
// changed.
func distinct(t *testing.T, dir string, files, n int) {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(n), 5))
	var last string
	for k := range files {
		var b bytes.Buffer
		for i := 0; b.Len() < n/files; i++ {
			words := make([]string, 0, 64)
			for range 40 + r.IntN(20) {
				words = append(words, fmt.Sprintf("w%x", r.Uint32()))
			}
			text := strings.Join(words, " ") + ".\n\n" + strings.Join(words[:8], " ") + strings.ToUpper(words[9]) + "."
			if i%10 == 9 {
				text = strings.Replace(last, "w", "v", 1)
			}
			last = text
			fmt.Fprintf(&b, "{\"text\": %q}\n", text)
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%c-%02d.jsonl", 'a'+k%2, k)), b.String())
	}
}

// measured is what a job asked of its store, and the size of its graph.
type measured struct {
	Cost
	graph int
}

// countJobs prepares a text of so many bytes with all steps, by sizes that are shrunk, and returns what each job took, what it may take,
// and how often the driver opened a file.
func countJobs(t *testing.T, size int) (took []measured, may []Cost, driver int64) {
	t.Helper()
	fs := &countingFS{root: t.TempDir()}
	storage.Register("counted", fs)
	distinct(t, filepath.Join(fs.root, "in"), 8, size)
	cfg := config(t, byteTokenizer(t), "")
	cfg.Inputs, cfg.OutDir, cfg.StagedDir, cfg.RejectsDir = nil, "counted://out", "counted://staged", "counted://rejects"
	cfg.TokensPerShard, cfg.SequenceLength, cfg.KeepStaged = 16<<10, 512, true
	cfg.Sizes = Sizes{Group: 16 << 10, Part: 128 << 10, Block: 64 << 10}
	cfg.DedupeLimits = dedupe.Limits{RangeRecords: 4096, SpillBytes: 128 << 10, PartLinks: 4096, FileRemovals: 4096}
	cfg.Sources = []recipe.Source{{MixSource: datasets.MixSource{Name: "a", Weight: 2}, Input: []string{"counted://in/a-*"}},
		{MixSource: datasets.MixSource{Name: "b", Weight: 1}, Input: []string{"counted://in/b-*"}}}
	cfg.Clean = []map[string]any{{"rule": "length", "min_words": 3}}
	cfg.Dedupe = []map[string]any{{"rule": "exact"}, {"rule": "paragraphs"}, {"rule": "sentences"}, {"rule": "minhash"}}
	res, err := Execute(t.Context(), cfg, func(ctx context.Context, p *beam.Pipeline, name string) error {
		one := measured{graph: graphSize(t, p)}
		fs.running.Store(true)
		defer fs.running.Store(false)
		w := &fs.workers
		before := Cost{Job: name, Opens: w.opens.Load(), Puts: w.puts.Load(), Read: w.read.Load(), Written: w.written.Load()}
		err := jobs.Prism(ctx, p, name)
		one.Cost = Cost{Job: name, Opens: w.opens.Load() - before.Opens, Puts: w.puts.Load() - before.Puts,
			Read: w.read.Load() - before.Read, Written: w.written.Load() - before.Written}
		took = append(took, one)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, tokens := int64(0), int64(0)
	all, _ := filepath.Glob(filepath.Join(fs.root, "in", "*"))
	for _, f := range all {
		st, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		files += st.Size()
	}
	for _, s := range append(res.Train, res.Validation...) {
		tokens += s.Tokens
	}
	t.Logf("%d bytes, %d documents of %d, %d shards; the driver: %s; workers: %s", files, res.Kept, res.Read, len(res.Train), &fs.driver,
		&fs.workers)
	return took, cfg.Costs(Volume{Bytes: files, Files: int64(len(all)), Documents: res.Read, Tokens: tokens}), fs.driver.opens.Load()
}

// exceeds says whether a cost is more than so many times another in anything.
func (c *Cost) exceeds(o *Cost, times int64) bool {
	return c.Opens > times*o.Opens || c.Puts > times*o.Puts || c.Read > times*o.Read || c.Written > times*o.Written
}

// TestCosts: what the data stage asks of its store is within what its formula says, job by job, and grows with the text and no faster; what
// the driver asks, the jobs and their graphs do not grow.
func TestCosts(t *testing.T) {
	sizes := []int{1, 4, 16}
	if os.Getenv("ADAPTFLOW_CI_TIER") == "full" {
		sizes = append(sizes, 64)
	}
	var last []measured
	var opens int64
	for i, times := range sizes {
		took, may, driver := countJobs(t, times*256<<10)
		n := 0
		for _, c := range may { // jobs of mixing are made as they are needed
			if n < len(took) && took[n].Job == c.Job {
				if took[n].exceeds(&c, 1) {
					t.Errorf("%d times: %+v took more than %+v", times, took[n], c)
				}
				t.Logf("%d: %+v of %+v", times, took[n], c)
				n++
			} else if c.Job != "adaptflow-mix" {
				t.Errorf("%d times: there is no job %s, but %+v", times, c.Job, took[min(n, len(took)-1)])
			}
		}
		if n != len(took) {
			t.Errorf("%d times: %d of %d jobs have a formula", times, n, len(took))
		}
		var sum, before Cost
		graph := 0
		for k := range took {
			sum.add(took[k].Cost)
			graph += took[k].graph
			if i > 0 {
				before.add(last[k].Cost)
				if a, b := took[k].graph, last[k].graph; a > b+100 && k+1 < len(took) { // packing, the last, has two ways
					t.Errorf("the graph of %s has %d bytes, %d before", took[k].Job, a, b)
				}
			}
		}
		if graph > 300<<10 {
			t.Errorf("the graphs have %d bytes", graph)
		}
		if i > 0 {
			if driver != opens || len(took) != len(last) {
				t.Errorf("%d times: the driver opened %d files, %d before; %d jobs, %d before", times, driver, opens, len(took), len(last))
			}
			if sum.exceeds(&before, 6) { // four times, and a level more where runs of keys and documents begin to be gathered
				t.Errorf("four times the text took %+v, before it were %+v", sum, before)
			}
		}
		last, opens = took, driver
	}
}
