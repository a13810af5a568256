package perkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	core "github.com/adaptflow/adaptflow/train"
)

func init() {
	beam.RegisterDoFn(&KeyFn{})
	beam.RegisterDoFn(&PlanFn{})
	beam.RegisterDoFn(&GroupFn{})
	beam.RegisterDoFn(&ResultFn{})
	register.Emitter1[string]()
	register.Emitter2[int, string]()
	register.Iter1[string]()
}

// Config is the settings of training by key.
type Config struct {
	// Job names the base model, the method and the training settings; its shards and checkpoints are not used.
	Job    core.Job
	OutDir string // adapter folders, one a key: see KeyName
	// WorkDir holds the keys' sequences while they are trained, RejectsDir the dead letters of keys with too little data.
	WorkDir, RejectsDir string
	// InitDir has adapter folders of an earlier run: a key that has one there (InitFolder) starts from it. "" for none.
	InitDir string
	// MinSequences is the least number of sequences that a key is trained on; a key with fewer is rejected.
	MinSequences int
	// GroupKeys and GroupTokens bound a group: keys, and tokens of one pass over the base. 0 for 64 and 8192. They change no result.
	GroupKeys, GroupTokens int
	// Forget are ids of documents that are left out.
	Forget  []string
	Version string // adaptflow's version, for the model cards
}

// least is the least number of sequences that a key is trained on.
func (c *Config) least() int { return max(c.MinSequences, c.Job.Args.LeastSequences()) }

// Result is what became of a key; metrics.json of its folder.
type Result struct {
	Key       string    `json:"key"`
	Dir       string    `json:"adapter,omitempty"` // the folder's name; "" where there is none
	Skipped   string    `json:"skipped,omitempty"` // why there is none
	Sequences int       `json:"sequences"`
	Steps     int       `json:"steps"`
	Tokens    int64     `json:"tokens"` // trained on
	Loss      []float64 `json:"loss,omitempty"`
	Warm      bool      `json:"warm_start,omitempty"`
	// EvalTokens are the predicted tokens of the key's held-out sequences, Before and After their mean negative log-likelihood.
	EvalTokens int     `json:"eval_tokens"`
	Before     float64 `json:"eval_nll_before"`
	After      float64 `json:"eval_nll_after"`
	Binding    string  `json:"binding"` // what the adapter's bytes depend on
	SHA256     string  `json:"adapter_sha256,omitempty"`
}

// Broken says what is wrong with a key's folder in the folder out: "" where nothing is, or the key has none.
func (r *Result) Broken(out string) string {
	if r.Dir == "" || !storage.IsLocal(out) {
		return ""
	}
	dir := storage.Join(out, r.Dir)
	for _, name := range []string{MetricsFile, LineageFile, peft.ConfigFile} {
		if _, err := os.Stat(storage.Join(dir, name)); err != nil {
			return "lacks " + name
		}
	}
	switch sum, err := peft.TensorSum(dir); {
	case err != nil:
		return "lacks its weights"
	case r.SHA256 != "" && sum != r.SHA256:
		return "has damaged weights"
	}
	return ""
}

// measured is the result with NaN, in JSON null, for what was not measured.
func (r *Result) measured() Result {
	out := *r
	if out.EvalTokens == 0 {
		out.Before, out.After = math.NaN(), math.NaN()
	}
	return out
}

// Measured is each result as it is written: see metrics.json of a key's folder.
func Measured(results []Result) []Result {
	out := make([]Result, len(results))
	for i := range results {
		out[i] = results[i].measured()
	}
	return out
}

// The files of a key's folder beside the adapter's own.
const (
	MetricsFile = "metrics.json"
	LineageFile = "documents.jsonl" // a Document a line
)

// Document is a piece of a document that an adapter was trained on.
type Document struct {
	ID     string   `json:"doc_id"`
	Source string   `json:"source"`
	Span   [2]int32 `json:"span"` // in the source text, in Unicode code points
}

// ReasonTooFew is the reason of the dead letters of a key with fewer than MinSequences sequences.
const ReasonTooFew = "too_few_examples"

// ReasonNoKey is the reason of the dead letters of rows without a key.
const ReasonNoKey = "missing_key"

// ReasonBadKey is the reason of the dead letters of rows whose key is not UTF-8.
const ReasonBadKey = "invalid_key"

// spec is a key on its way: it refers to its sequences on disk.
type spec struct {
	Key, Path, Eval  string // Eval "" for none
	Sequences, Steps int
	Tokens           int // of a pass
	Init, Binding    string
	Dir, Stale       string // its folder's name, and one that goes when that is finished
	Skipped          string // why it is not trained
	Finished         bool
}

// Train trains the keys of references (PCollection<KV<string, Ref>>, from Stage or FromShards) and returns a Result of each as JSON
// (PCollection<string>). A key whose folder is already that of the same settings and sequences is not trained again.
func Train(s beam.Scope, cfg Config, refs beam.PCollection) beam.PCollection {
	s = s.Scope("perkey.Train")
	raw, err := json.Marshal(&cfg)
	if err != nil {
		panic(fmt.Sprintf("perkey: %v", err))
	}
	c := string(raw)
	specs := beam.ParDo(s, &KeyFn{Config: c}, beam.GroupByKey(s, refs))
	groups, done := beam.ParDo2(s, &PlanFn{Config: c}, beam.GroupByKey(s, specs))
	all := beam.Flatten(s, beam.ParDo(s, &GroupFn{Config: c}, beam.Reshuffle(s, groups)), done)
	return beam.ParDo(s, &ResultFn{Dir: resultsDir(cfg.WorkDir)}, all)
}

func resultsDir(work string) string { return storage.Join(work, "results") }

// ResultFn writes each result into a folder, and passes it on.
type ResultFn struct{ Dir string }

// ProcessElement writes one result.
func (f *ResultFn) ProcessElement(_ context.Context, raw string) (string, error) {
	var r Result
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return "", err
	}
	name := KeyName(r.Key)
	if r.Skipped == ReasonBadKey { // what is shown for it may be another key
		name = "invalid-" + name
	}
	return raw, storage.WriteFile(storage.Join(f.Dir, name+".json"), []byte(raw+"\n"))
}

// TrainPerKey is Train of tokenized examples (PCollection<KV<string, Example>>).
func TrainPerKey(s beam.Scope, cfg Config, examples beam.PCollection) beam.PCollection {
	s = s.Scope("perkey.TrainPerKey")
	return Train(s, cfg, beam.ParDo(s, &StageFn{Dir: storage.Join(cfg.WorkDir, "examples"), SequenceLength: cfg.Job.SequenceLength}, examples))
}

// FromShards refers to the rows of packed shards by their keys.
func FromShards(s beam.Scope, shards []ShardRef) beam.PCollection {
	s = s.Scope("perkey.FromShards")
	return beam.ParDo(s, &ShardFn{}, beam.Reshuffle(s, beam.CreateList(s, shards)))
}

// KeyFn brings the sequences of a key together in a file of its own, in an order of their content.
type KeyFn struct {
	Config string

	cfg     Config
	binding string
}

// Setup reads the settings.
func (f *KeyFn) Setup() (err error) {
	if err := json.Unmarshal([]byte(f.Config), &f.cfg); err != nil {
		return err
	}
	f.cfg.Job.Train, f.cfg.Job.Validation = nil, nil
	f.binding, err = f.cfg.Job.Binding()
	return err
}

// ProcessElement takes the references of one key and emits its spec for planning.
func (f *KeyFn) ProcessElement(ctx context.Context, key string, refs func(*Ref) bool, emit func(int, string)) error {
	var train, eval []Ref
	for r := (Ref{}); refs(&r); r = (Ref{}) {
		if r.Eval {
			eval = append(eval, r)
		} else {
			train = append(train, r)
		}
	}
	name := KeyName(key)
	sp := spec{Key: key, Path: storage.Join(f.cfg.WorkDir, "keys", name+".parquet")}
	h := sha256.New()
	fmt.Fprintln(h, f.binding)
	n, err := f.spill(sp.Path, train, h)
	if err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	switch sp.Sequences = n; {
	case key == "":
		sp.Skipped = ReasonNoKey
	case !utf8.ValidString(key): // it would not come back from any file that names it
		sp.Skipped, sp.Key = ReasonBadKey, fmt.Sprintf("%q", key)
	case n < f.cfg.least():
		sp.Skipped = ReasonTooFew
	}
	if sp.Skipped != "" {
		beam.NewCounter("adaptflow", "keys.rejected").Inc(ctx, 1)
		if err := f.reject(name, &sp); err != nil {
			return err
		}
	}
	if len(eval) > 0 && sp.Skipped == "" {
		sp.Eval = storage.Join(f.cfg.WorkDir, "keys", name+".eval.parquet")
		n, err := f.spill(sp.Eval, eval, h)
		if err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if n == 0 {
			sp.Eval = ""
		}
	}
	if f.cfg.InitDir != "" && sp.Skipped == "" {
		if sp.Init, err = InitFolder(f.cfg.InitDir, key); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if sp.Init != "" {
			sum, err := peft.TensorSum(sp.Init)
			if err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
			fmt.Fprintln(h, sum)
		}
	}
	sp.Binding = hex.EncodeToString(h.Sum(nil))
	at, err := findHome(f.cfg.OutDir, key, sp.Binding)
	if err != nil {
		return err
	}
	sp.Dir, sp.Stale, sp.Finished = at.dir, at.stale, sp.Skipped == "" && at.kept != nil && at.kept.Binding == sp.Binding && at.kept.Broken(f.cfg.OutDir) == ""
	if sp.Skipped != "" { // of a run with more data
		err = errors.Join(discard(f.cfg.OutDir, sp.Dir), discard(f.cfg.OutDir, sp.Stale))
	} else if sp.Finished {
		err = discard(f.cfg.OutDir, sp.Stale)
	}
	if err != nil {
		return err
	}
	if sp.Skipped == "" && !sp.Finished {
		data, err := core.OpenShards([]string{sp.Path})
		if err != nil {
			return err
		}
		defer data.Close()
		sp.Steps = f.cfg.Job.Args.StepsFor(n)
		if sp.Tokens, err = core.KeyTokens(&f.cfg.Job.Args, data); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(&sp)
	if err != nil {
		return err
	}
	emit(0, string(raw))
	return nil
}

// spill writes rows into one file in their order, adds them to the hash, and counts them. A file of none is not written.
func (f *KeyFn) spill(path string, refs []Ref, h interface{ Write([]byte) (int, error) }) (n int, err error) {
	files := map[string]*datasets.Shard{}
	defer func() {
		for _, s := range files {
			s.Close()
		}
	}()
	type place struct {
		path  string
		group int
	}
	groups := map[place][]datasets.Sequence{}
	var w *datasets.ShardWriter
	for _, r := range sorted(refs) {
		at := place{refs[r.ref].Path, refs[r.ref].Group}
		rows, ok := groups[at]
		if !ok {
			s := files[at.path]
			if s == nil {
				if s, err = datasets.OpenShard(at.path); err != nil {
					return n, err
				}
				files[at.path] = s
			}
			if rows, err = s.ReadRowGroup(at.group); err != nil {
				return n, err
			}
			if len(groups) == 64 { // as many row groups as are held
				clear(groups)
			}
			groups[at] = rows
		}
		q := rows[r.row]
		if q = Without(q, f.cfg.Forget); len(q.InputIDs) == 0 || q.Supervised() == 0 { // nothing is learnt of the rest, where others were left out
			continue
		}
		o, sum := hashes(&q)
		fmt.Fprintf(h, "%x %x\n", o, sum)
		if w == nil {
			meta := datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: f.cfg.Job.SequenceLength, Packing: datasets.PackNone, IsolateDocuments: true}
			if w, err = datasets.CreateShard(path, meta); err != nil {
				return n, err
			}
			defer w.Abort()
		}
		if err := w.Write(&q); err != nil {
			return n, err
		}
		n++
	}
	fmt.Fprintln(h, n)
	if w != nil {
		_, err = w.Close()
	}
	return n, err
}

// Without is a sequence without the pieces of the documents named.
func Without(q datasets.Sequence, ids []string) datasets.Sequence {
	if !slices.ContainsFunc(q.DocIDs, func(id string) bool { return slices.Contains(ids, id) }) {
		return q
	}
	if len(q.DocStarts) != len(q.DocIDs) {
		return datasets.Sequence{Key: q.Key} // documents that were not kept apart go together
	}
	return q.Pick(func(i int) bool { return !slices.Contains(ids, q.DocIDs[i]) })
}

// reject writes a dead letter for each document of a key that has too few.
func (f *KeyFn) reject(name string, sp *spec) error {
	w := datasets.NewRejectWriter(storage.Join(f.cfg.RejectsDir, "keys-"+name+".jsonl.zst"))
	defer w.Abort()
	err := eachDocument(sp, func(d Document) error {
		source, index := datasets.CutDocID(d.ID)
		return w.Write(&datasets.Reject{Source: source, Index: index, Rule: "keys", Reason: sp.Skipped, Value: fmt.Sprint(sp.Sequences),
			Threshold: fmt.Sprint(f.cfg.least()), Record: []byte(sp.Key)})
	})
	if err != nil {
		return err
	}
	if _, err = w.Close(); err != nil {
		return err
	}
	return discard(f.cfg.RejectsDir, "keys-"+earlierName(sp.Key)+".jsonl.zst") // of an earlier version
}

// eachDocument calls do with the documents of a key's file, in order.
func eachDocument(sp *spec, do func(Document) error) error {
	if sp.Sequences == 0 {
		return nil
	}
	data, err := core.OpenShards([]string{sp.Path})
	if err != nil {
		return err
	}
	defer data.Close()
	for i := range data.Len() {
		q, err := data.Sequence(i)
		if err != nil {
			return err
		}
		for k, id := range q.DocIDs {
			if err := do(Document{id, q.Sources[k], q.DocSpans[k]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// PlanFn cuts the keys that are to be trained into groups of like numbers of steps.
type PlanFn struct{ Config string }

// ProcessElement emits the groups, and the results of keys that need no training.
func (f *PlanFn) ProcessElement(_ context.Context, _ int, specs func(*string) bool, group, done func(string)) error {
	var cfg Config
	if err := json.Unmarshal([]byte(f.Config), &cfg); err != nil {
		return err
	}
	var all []spec
	for raw := ""; specs(&raw); {
		var sp spec
		if err := json.Unmarshal([]byte(raw), &sp); err != nil {
			return err
		}
		if sp.Skipped == "" && !sp.Finished {
			all = append(all, sp)
			continue
		}
		r := &Result{Key: sp.Key, Sequences: sp.Sequences, Skipped: sp.Skipped}
		if sp.Finished {
			var err error
			if r, err = ReadResult(storage.Join(cfg.OutDir, sp.Dir)); err != nil {
				return err
			}
		}
		raw, err := storage.MarshalJSON(r, "")
		if err != nil {
			return err
		}
		done(string(raw))
	}
	slices.SortFunc(all, func(a, b spec) int { return cmp.Or(cmp.Compare(b.Steps, a.Steps), cmp.Compare(a.Key, b.Key)) })
	keys, tokens := cmp.Or(cfg.GroupKeys, 64), cmp.Or(cfg.GroupTokens, 8192)
	for len(all) > 0 {
		n, sum := 0, 0
		for n < len(all) && n < keys && (n == 0 || sum+all[n].Tokens <= tokens) {
			sum += all[n].Tokens
			n++
		}
		raw, err := json.Marshal(all[:n])
		if err != nil {
			return err
		}
		group(string(raw))
		all = all[n:]
	}
	return nil
}

// ReadResult reads the result in a key's folder.
func ReadResult(dir string) (*Result, error) { return readResult(storage.Join(dir, MetricsFile)) }

// Results are the results of all keys, trained or not, in a work folder, by key.
func Results(work string) ([]Result, error) {
	files, err := filepath.Glob(filepath.Join(resultsDir(work), "*.json"))
	if err != nil {
		return nil, err
	}
	var out []Result
	for _, f := range files {
		r, err := readResult(f)
		if err != nil {
			return nil, err
		}
		out = append(out, *r)
	}
	slices.SortFunc(out, func(a, b Result) int { return cmp.Compare(a.Key, b.Key) })
	return out, nil
}

func readResult(path string) (*Result, error) {
	b, err := storage.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r Result
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &r, nil
}

// GroupFn trains a group of keys and writes their folders.
type GroupFn struct{ Config string }

// training lets one group of the process train at a time: each takes all threads.
var training sync.Mutex

// Progress is told, when set, of every result of this process.
var Progress func(*Result)

// ProcessElement trains one group and emits the keys' results.
func (f *GroupFn) ProcessElement(ctx context.Context, raw string, emit func(string)) error {
	var cfg Config
	var specs []spec
	if err := errors.Join(json.Unmarshal([]byte(f.Config), &cfg), json.Unmarshal([]byte(raw), &specs)); err != nil {
		return err
	}
	results, err := trainGroup(&cfg, specs)
	if err != nil {
		return err
	}
	for i := range results {
		beam.NewCounter("adaptflow", map[bool]string{true: "keys.trained", false: "keys.failed"}[results[i].Skipped == ""]).Inc(ctx, 1)
		out, err := storage.MarshalJSON(&results[i], "")
		if err != nil {
			return err
		}
		emit(string(out))
	}
	return nil
}

// trainGroup trains the keys together, or one after another where their adapters cannot share a pass.
func trainGroup(cfg *Config, specs []spec) (out []Result, err error) {
	training.Lock()
	defer training.Unlock()
	j := &cfg.Job
	if got := kernels.Active().String(); j.KernelSet != "" && got != j.KernelSet {
		return nil, fmt.Errorf("the run was started with the kernel set %s and this process has %s, which rounds differently", j.KernelSet, got)
	}
	m, err := core.BaseFor(j.Model, j.DType, j.Task)
	if err != nil {
		return nil, err
	}
	for len(specs) > 0 {
		a, err := core.OpenAdapter(m, "", j.Method, j.Config, j.BaseName, j.Args.Seed)
		if err != nil {
			return nil, err
		}
		n := len(specs)
		if !core.Groupable(a) {
			n = 1
		}
		rs, err := trainTogether(cfg, m, a, specs[:n])
		if err != nil {
			return nil, err
		}
		out, specs = append(out, rs...), specs[n:]
	}
	return out, nil
}

func trainTogether(cfg *Config, m *model.Model, a *peft.Adapter, specs []spec) ([]Result, error) {
	j := &cfg.Job
	p := pool.New(j.Threads)
	defer p.Close()
	params := nn.NewParams(len(specs))
	defer params.Free()
	var jobs []core.KeyJob
	for _, sp := range specs {
		data, err := core.OpenShards([]string{sp.Path})
		if err != nil {
			return nil, err
		}
		defer data.Within(m.Config.Vocab).Close()
		job := core.KeyJob{Key: sp.Key, Data: data, Tokens: sp.Tokens}
		if sp.Init != "" {
			if job.Init, err = core.OpenAdapter(m, sp.Init, "", nil, j.BaseName, j.Args.Seed); err != nil {
				return nil, fmt.Errorf("key %q: %w", sp.Key, err)
			}
		}
		jobs = append(jobs, job)
	}
	limit, err := core.ProgramLimit(j.MemoryLimit, core.ProcessBytes(m), m, nil)
	if err != nil {
		return nil, err
	}
	runs, err := core.TrainKeys(j.Args, core.Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p, MemoryLimit: limit, DType: core.Values(j.DType)}, jobs)
	if err != nil {
		return nil, err
	}
	score, err := core.NewScorer(m, []nn.Adapter{a}, params, p, max(j.SequenceLength, 1024))
	if err != nil {
		return nil, err
	}
	defer score.Close()
	var out []Result
	for i, sp := range specs {
		r := Result{Key: sp.Key, Dir: sp.Dir, Sequences: sp.Sequences, Steps: runs[i].Steps, Tokens: runs[i].Tokens, Loss: runs[i].Loss, Warm: sp.Init != "", Binding: sp.Binding}
		if runs[i].Err != nil {
			r.Dir, r.Skipped = "", runs[i].Err.Error()
		} else if err := finish(cfg, m, &sp, &r, a, params, i, score); err != nil {
			return nil, fmt.Errorf("key %q: %w", sp.Key, err)
		}
		if Progress != nil {
			Progress(&r)
		}
		out = append(out, r)
	}
	return out, nil
}

// finish scores a key and writes its folder; metrics.json, which makes it finished, last.
func finish(cfg *Config, m *model.Model, sp *spec, r *Result, a *peft.Adapter, params *nn.Params, slot int, score *core.Scorer) error {
	if sp.Eval != "" {
		data, err := core.OpenShards([]string{sp.Eval})
		if err != nil {
			return err
		}
		defer data.Within(m.Config.Vocab).Close()
		var seqs []datasets.Sequence
		for i := range data.Len() {
			q, err := data.Sequence(i)
			if err != nil {
				return err
			}
			seqs = append(seqs, q)
		}
		before, n, err := score.SlotNLL(seqs, -1)
		if err != nil {
			return err
		}
		after, _, err := score.SlotNLL(seqs, slot)
		if err != nil && strings.Contains(err.Error(), "not finite") { // the key's own training: the others are none the worse
			r.Dir, r.Skipped = "", fmt.Sprintf("%v: lower learning_rate or raise warmup_steps", err)
			return nil
		}
		if err != nil {
			return err
		}
		r.EvalTokens, r.Before, r.After = n, before/float64(max(n, 1)), after/float64(max(n, 1))
	}
	dir := storage.Join(cfg.OutDir, r.Dir)
	trained, err := core.TrainedCount(&cfg.Job.Args, a)
	if err != nil {
		return err
	}
	card := peft.Card{Title: sp.Key, Version: cfg.Version, Trained: trained, Summary: fmt.Sprintf("The adapter of the key `%s`, one of several that were trained over one base model.", sp.Key),
		Training: [][2]string{{"steps", fmt.Sprint(r.Steps)}, {"sequences", fmt.Sprint(r.Sequences)}, {"tokens", fmt.Sprint(r.Tokens)},
			{"learning_rate", fmt.Sprint(cfg.Job.Args.LearningRate)}, {"seed", fmt.Sprint(cfg.Job.Args.Seed)}}}
	if r.EvalTokens > 0 {
		card.Results = [][2]string{{"held-out loss", fmt.Sprintf("%.4f before, %.4f after, of %d tokens", r.Before, r.After, r.EvalTokens)}}
	}
	for _, name := range []string{MetricsFile, LineageFile} { // a folder without metrics.json is unfinished
		if err := storage.Remove(storage.Join(dir, name)); err != nil {
			return err
		}
	}
	if err := a.Save(dir, params, slot, card); err != nil {
		return err
	}
	if r.SHA256, err = peft.TensorSum(dir); err != nil {
		return err
	}
	var lines []byte
	if err := eachDocument(sp, func(d Document) error {
		b, err := json.Marshal(&d)
		lines = append(append(lines, b...), '\n')
		return err
	}); err != nil {
		return err
	}
	if err := storage.WriteFile(storage.Join(dir, LineageFile), lines); err != nil {
		return err
	}
	if err := storage.WriteJSON(storage.Join(dir, MetricsFile), r.measured()); err != nil {
		return err
	}
	return discard(cfg.OutDir, sp.Stale)
}
