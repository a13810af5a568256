package train

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/golden"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

var writePins = flag.Bool("write-pins", false, "write testdata/pins.json in place of comparing with it")

// pinned compares a run's digest with that of testdata/pins.json, which is by kernel set: what a run gave once, it gives always.
func pinned(t *testing.T, name string, digest ...string) {
	t.Helper()
	path := filepath.Join("testdata", "pins.json")
	pins := map[string][]string{}
	if _, err := os.Stat(path); err == nil {
		pins = golden.JSON[map[string][]string](t, path)
	}
	key := fmt.Sprintf("%s %s", name, kernels.Active())
	if *writePins {
		pins[key] = digest
		raw, err := json.MarshalIndent(pins, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, ok := pins[key]
	if !ok {
		t.Skipf("nothing is pinned for the kernel set %s", kernels.Active())
	}
	for i := range want {
		if digest[i] != want[i] {
			t.Errorf("%s: part %d of what the run gave has the digest %s, and had %s", name, i, digest[i], want[i])
		}
	}
}

func digest(parts ...any) string {
	h := sha256.New()
	for _, p := range parts {
		if b, ok := p.([]byte); ok {
			h.Write(b)
		} else if err := json.NewEncoder(h).Encode(p); err != nil {
			panic(err)
		}
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// paramsDigest is of all values of parameters.
func paramsDigest(p *nn.Params) string {
	h := sha256.New()
	for _, q := range p.List() {
		fmt.Fprintf(h, "%s\x00", q.Name)
		h.Write(encodeFloats(nil, q.Data))
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// writeShard writes sequences into a shard.
func writeShard(t *testing.T, path, kind string, length int, seqs []datasets.Sequence) ShardRef {
	t.Helper()
	w, err := datasets.CreateShard(path, datasets.ShardMeta{Kind: kind, SequenceLength: length})
	if err != nil {
		t.Fatal(err)
	}
	for i := range seqs {
		if err := w.Write(&seqs[i]); err != nil {
			t.Fatal(err)
		}
	}
	info, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return ShardRef{Path: path, SHA256: info.SHA256}
}

// pinJob is a job over shards of the sequences, with evaluations.
func pinJob(t *testing.T, kind string, seqs, valid []datasets.Sequence) Job {
	t.Helper()
	dir := t.TempDir()
	a := DefaultArgs()
	a.LearningRate, a.MaxSteps, a.PerDeviceTrainBatchSize, a.GradientAccumulationSteps, a.SaveSteps, a.EvalSteps = 5e-3, 5, 2, 2, 5, 2
	a.WarmupSteps, a.WeightDecay = 1, 0.01
	return Job{Args: a, Model: tiny("llama_gqa"), Method: "LORA", SequenceLength: 16, Dir: filepath.Join(dir, "checkpoints"),
		KernelSet:  kernels.Active().String(),
		Config:     map[string]any{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "lora_dropout": 0.1},
		Train:      []ShardRef{writeShard(t, filepath.Join(dir, "train.parquet"), kind, 16, seqs)},
		Validation: []ShardRef{writeShard(t, filepath.Join(dir, "valid.parquet"), kind, 16, valid)}}
}

// TestPinnedRuns: jobs of each objective, with one replica and two, have the bytes that they had.
func TestPinnedRuns(t *testing.T) {
	lm, class := []datasets.Sequence(keyed(0, 9)), classes(9)
	for _, c := range []struct {
		name string
		job  func() Job
	}{
		{"sft", func() Job { return pinJob(t, datasets.KindLM, lm, keyed(1, 5)) }},
		{"classify", func() Job {
			j := pinJob(t, datasets.KindClassification, class, classes(4))
			j.Task = model.Task{Type: "SEQ_CLS", NumLabels: 3, Seed: 1}
			j.Config["task_type"] = "SEQ_CLS"
			return j
		}},
		{"distil", func() Job {
			j := pinJob(t, datasets.KindLM, lm, keyed(1, 5))
			j.Teachers, j.DistillationAlpha = []string{tiny("llama_tied"), tiny("qwen2")}, 0.75
			return j
		}},
		{"prompt", func() Job {
			j := pinJob(t, datasets.KindLM, short(7), short(2))
			j.Method, j.Config = "CPT", map[string]any{"cpt_token_ids": []int{5, 6, 7, 8, 9}, "cpt_mask": []int{1, 1, 1, 1, 1},
				"cpt_tokens_type_mask": []int{1, 2, 4, 4, 2}, "opt_weighted_loss_type": "decay", "opt_loss_decay_factor": 0.5}
			return j
		}},
		{"adalora", func() Job {
			j := pinJob(t, datasets.KindLM, lm, keyed(1, 5))
			j.Method, j.Config = "ADALORA", map[string]any{"target_modules": []string{"q_proj", "v_proj"}, "total_step": 5, "tinit": 1,
				"tfinal": 1, "deltaT": 1}
			return j
		}},
	} {
		for _, replicas := range []int{1, 2} {
			t.Run(fmt.Sprint(c.name, " ", replicas), func(t *testing.T) {
				j := c.job()
				j.Args.Replicas = replicas
				raw, err := json.Marshal(&j)
				if err != nil {
					t.Fatal(err)
				}
				defer CloseSessions()
				var st *State
				var values, binding string
				err = Use(string(raw), func(s *Session) error {
					if replicas == 1 {
						if _, err := s.Advance(0, j.Args.MaxSteps); err != nil {
							return err
						}
					} else {
						for step := range j.Args.MaxSteps {
							var refs []Ref
							for r := range replicas {
								ref, err := s.Replica(step, r)
								if err != nil {
									return err
								}
								refs = append(refs, ref)
							}
							if _, err := s.Combine(step, refs); err != nil {
								return err
							}
						}
					}
					st, values, binding = s.State(), paramsDigest(s.Params()), s.binding
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				for i := range st.History {
					st.History[i].Seconds = 0
				}
				if len(st.History) != 5 || len(st.Evals) != 3 {
					t.Fatalf("%d steps, %d evaluations", len(st.History), len(st.Evals))
				}
				pinned(t, fmt.Sprint(c.name, " ", replicas), values, digest(st.History), digest(st.Evals),
					digest(st.BestStep, st.BestLoss), binding[:16])
			})
		}
	}
}

// TestPinnedKeys: keys that share passes, and one whose method trains key by key, have the bytes that they had.
func TestPinnedKeys(t *testing.T) {
	m := llama(t)
	p := pool.New(2)
	defer p.Close()
	for _, c := range []struct {
		method string
		config map[string]any
		keys   []int
	}{
		{"LORA", map[string]any{"r": 4, "target_modules": "all-linear", "lora_dropout": 0.1}, []int{3, 1, 6, 2}},
		{"ADALORA", map[string]any{"target_modules": []string{"q_proj"}, "total_step": 4}, []int{5}},
		{"PROMPT_TUNING", map[string]any{"num_virtual_tokens": 4}, []int{5}},
	} {
		t.Run(c.method, func(t *testing.T) {
			a, err := peft.New(c.method, c.config, nn.Sites(m), peft.Env{ModelType: "llama", Seed: 1})
			if err != nil {
				t.Fatal(err)
			}
			args := DefaultArgs()
			args.NumTrainEpochs, args.PerDeviceTrainBatchSize, args.LearningRate, args.MaxGradNorm,
				args.GradientAccumulationSteps = 2, 2, 1e-2, 0.5, 2
			var jobs []KeyJob
			for k, n := range c.keys {
				jobs = append(jobs, KeyJob{Key: fmt.Sprint("key", k), Data: keyed(k, n)})
			}
			params := nn.NewParams(len(jobs))
			defer params.Free()
			runs, err := TrainKeys(args, Setup{Wiring: m, Adapters: []nn.Adapter{a}, Params: params, Pool: p}, jobs)
			if err != nil {
				t.Fatal(err)
			}
			pinned(t, "keys "+c.method, paramsDigest(params), digest(runs))
		})
	}
}
