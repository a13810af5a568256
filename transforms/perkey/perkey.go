package perkey

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/register"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/recipe"
	"github.com/adaptflow/adaptflow/train"
	"github.com/adaptflow/adaptflow/transforms/meter"
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
	// Job names the base model, the method and the training settings; its shards and checkpoints are not used. A job with a location is of
	// workers that share nothing but file systems: OutDir, WorkDir and RejectsDir are URIs then, folders are references (internal/pulled),
	// the base is called [peft.BaseMark], and the driver calls [Publish] at the end.
	Job    train.Job
	OutDir string // adapter folders, one a key: see KeyName
	// WorkDir holds the keys' sequences while they are trained, RejectsDir the dead letters of keys with too little data.
	WorkDir, RejectsDir string
	// Keys are the recipe's settings. A key with a folder in InitAdapters ([InitFolder]) starts from it; GroupKeys and GroupTokens are a
	// recipe's defaults where they are 0.
	recipe.Keys
	// Forget are ids of documents that are left out.
	Forget  []string
	Version string // adaptflow's version, for the model cards
}

// least is the least number of sequences that a key is trained on.
func (c *Config) least() int { return max(c.MinSequences, c.Job.Args.LeastSequences()) }

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
	Tokens           int    // of a pass
	Init, Binding    string // Init: a folder in Config.InitAdapters; "" for none
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

// TrainPerKey is Train of tokenized examples (PCollection<KV<string, Example>>).
func TrainPerKey(s beam.Scope, cfg Config, examples beam.PCollection) beam.PCollection {
	s = s.Scope("perkey.TrainPerKey")
	return Train(s, cfg, beam.ParDo(s, &StageFn{Dir: storage.Join(cfg.WorkDir, "examples"), SequenceLength: cfg.Job.SequenceLength},
		examples))
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

// Setup reads the settings and pulls what they refer to.
func (f *KeyFn) Setup(ctx context.Context) (err error) {
	if err := json.Unmarshal([]byte(f.Config), &f.cfg); err != nil {
		return err
	}
	if err := f.cfg.pull(ctx); err != nil {
		return err
	}
	f.cfg.Job.Train, f.cfg.Job.Validation = nil, nil
	return train.UseBase(f.cfg.OutDir, &f.cfg.Job, func(*model.Model) (err error) { // whose hash is part of it
		f.binding, err = f.cfg.Job.Binding()
		return err
	})
}

// ProcessElement takes the references of one key and emits its spec for planning.
func (f *KeyFn) ProcessElement(ctx context.Context, key string, refs func(*Ref) bool, emit func(int, string)) error {
	var learnt, eval []Ref
	for r := (Ref{}); refs(&r); r = (Ref{}) {
		if r.Eval {
			eval = append(eval, r)
		} else {
			learnt = append(learnt, r)
		}
	}
	name := KeyName(key)
	sp := spec{Key: key, Path: storage.Join(f.cfg.WorkDir, "keys", name+".parquet")}
	h := sha256.New()
	fmt.Fprintln(h, f.binding)
	n, err := f.spill(sp.Path, learnt, h)
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
		meter.Add(ctx, meter.KeysRejected, 1)
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
	if f.cfg.InitAdapters != "" && sp.Skipped == "" {
		if sp.Init, err = InitFolder(f.cfg.InitAdapters, key); err != nil {
			return fmt.Errorf("key %q: %w", key, err)
		}
		if sp.Init != "" {
			sum, err := peft.TensorSum(sp.Init)
			if err != nil {
				return fmt.Errorf("key %q: %w", key, err)
			}
			fmt.Fprintln(h, sum)
			sp.Init = filepath.Base(sp.Init) // each machine has the folder elsewhere
		}
	}
	sp.Binding = hex.EncodeToString(h.Sum(nil))
	if err := f.settle(ctx, key, &sp); err != nil {
		return fmt.Errorf("key %q: %w", key, err)
	}
	if sp.Skipped == "" && !sp.Finished {
		data, err := train.OpenShards([]string{sp.Path})
		if err != nil {
			return err
		}
		defer data.Close()
		sp.Steps = f.cfg.Job.Args.StepsFor(n)
		if sp.Tokens, err = train.KeyTokens(&f.cfg.Job.Args, data); err != nil {
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

// settle finds the key's folder, and whether it is finished, and removes what is the key's no more.
func (f *KeyFn) settle(ctx context.Context, key string, sp *spec) error {
	if f.cfg.elsewhere() {
		at, finished, err := f.cfg.homeAt(ctx, key, sp.Binding)
		if err != nil {
			return err
		}
		sp.Dir, sp.Finished = at.dir, sp.Skipped == "" && finished
		if sp.Skipped != "" { // of a run with more data
			return f.cfg.removeAt(ctx, sp.Dir)
		}
		return nil
	}
	at, err := findHome(f.cfg.OutDir, key, sp.Binding)
	if err != nil {
		return err
	}
	sp.Dir, sp.Stale, sp.Finished = at.dir, at.stale,
		sp.Skipped == "" && at.kept != nil && at.kept.Binding == sp.Binding && at.kept.Broken(f.cfg.OutDir) == ""
	if sp.Skipped != "" { // of a run with more data
		return errors.Join(discard(f.cfg.OutDir, sp.Dir), discard(f.cfg.OutDir, sp.Stale))
	}
	if sp.Finished {
		return discard(f.cfg.OutDir, sp.Stale)
	}
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
		// nothing is learnt of the rest, where others were left out
		if q = q.Without(f.cfg.Forget); len(q.InputIDs) == 0 || q.Supervised() == 0 {
			continue
		}
		o, sum := hashes(&q)
		fmt.Fprintf(h, "%x %x\n", o, sum)
		if w == nil {
			meta := datasets.ShardMeta{Kind: datasets.KindLM, SequenceLength: f.cfg.Job.SequenceLength, Packing: datasets.PackNone,
				IsolateDocuments: true}
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
	data, err := train.OpenShards([]string{sp.Path})
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
	def := recipe.Default().Keys
	keys, tokens := cmp.Or(cfg.GroupKeys, def.GroupKeys), cmp.Or(cfg.GroupTokens, def.GroupTokens)
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
