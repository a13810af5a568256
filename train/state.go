package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
)

// State is what a checkpoint says beside its tensors.
type State struct {
	Version    int               `json:"version"`
	Step       int               `json:"global_step"`
	Total      int               `json:"max_steps"`
	Binding    string            `json:"binding"` // what the run depends on: recipe, model, data, kernel set
	History    []StepInfo        `json:"log_history"`
	Evals      []Eval            `json:"evals"`
	BestStep   int               `json:"best_step"` // 0 for none
	BestLoss   float64           `json:"best_metric"`
	Worse      int               `json:"evals_without_improvement"`
	Stopped    bool              `json:"stopped_early"`
	TokensSeen int64             `json:"num_input_tokens_seen"`
	Seconds    float64           `json:"train_seconds"`
	Files      map[string]string `json:"files"` // SHA-256 of each file
	// Of rounds with several replicas: what each keeps for its next round; and, in the state of a round, the checkpoint whose log the log
	// continues.
	Kept []FileRef `json:"kept,omitempty"`
	Base int       `json:"base_checkpoint,omitempty"`
	// Of the state of a round whose optimiser is sharded: the files of the shards.
	Shards []FileRef `json:"shards,omitempty"`
	Seal   string    `json:"sha256"` // SHA-256 of this as JSON, with noSeal in its place
}

// noSeal stands for a state's seal where it is not known yet.
var noSeal = strings.Repeat("0", 64)

// encode is the state as JSON, with its seal.
func (s State) encode(marshal func(any) ([]byte, error)) ([]byte, error) {
	s.Version, s.Seal = stateVersion, noSeal
	raw, err := marshal(&s)
	if err != nil {
		return nil, err
	}
	return bytes.Replace(raw, []byte(noSeal), []byte(storage.SHA256(raw)), 1), nil
}

// decodeState reads what encode wrote. The error tells of damage, to any of its bytes.
func decodeState(raw []byte) (*State, error) {
	var s State
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	if s.Version != stateVersion {
		return nil, fmt.Errorf("version %d, this program reads %d", s.Version, stateVersion)
	}
	if s.Seal == "" || storage.SHA256(bytes.Replace(raw, []byte(s.Seal), []byte(noSeal), 1)) != s.Seal {
		return nil, errors.New("its checksum is not the one that it was written with")
	}
	return &s, nil
}

// stateVersion is the version of the format of states.
const stateVersion = 2

// Eval is one evaluation on the validation split.
type Eval struct {
	Step   int     `json:"step"`
	Loss   float64 `json:"eval_loss"`
	Tokens int     `json:"tokens"` // or what else the objective counts
	// Metrics are the objective's own.
	Metrics map[string]float64 `json:"metrics,omitempty"`
}

const (
	stateFile     = "trainer_state.json"
	trainableFile = "trainable.safetensors"
	optimizerFile = "optimizer.safetensors"
	methodFile    = "method.bin" // peft.Stepper's state
)

// CheckpointDir is the folder of the checkpoint of a step.
func CheckpointDir(dir string, step int) string {
	return filepath.Join(dir, fmt.Sprintf("checkpoint-%06d", step))
}

// Checkpoints are the steps of the finished checkpoints in dir, ascending. What a kill left unfinished does not count.
func Checkpoints(dir string) ([]int, error) {
	es, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var steps []int
	for _, e := range es {
		n, ok := strings.CutPrefix(e.Name(), "checkpoint-")
		k, err := strconv.Atoi(n)
		if !ok || err != nil || !e.IsDir() {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, e.Name(), stateFile)); err == nil {
			steps = append(steps, k)
		}
	}
	slices.Sort(steps)
	return steps, nil
}

// Save writes a checkpoint of the trainer into dir: the tensors first, the state that names their checksums last, each by a
// temporary name, so that a kill at any moment leaves the checkpoint finished or absent.
func (t *Trainer) Save(dir string, st *State) error {
	_, err := t.save(dir, st, arrays(t.opt.Each))
	return err
}

// arrays are the tensors of an optimiser's state, which each calls its function for.
func arrays(each func(func(name string, x []float32))) (ts []safetensors.Tensor) {
	each(func(name string, x []float32) { ts = append(ts, safetensors.F32(name, x, len(x))) })
	return ts
}

// save is Save with the tensors of an optimiser's state. It returns the names of the files that it wrote, the state's last.
func (t *Trainer) save(dir string, st *State, optimizer []safetensors.Tensor) ([]string, error) {
	to := CheckpointDir(dir, t.opt.Step)
	if err := storage.MkdirAll(to); err != nil {
		return nil, err
	}
	var ts []safetensors.Tensor
	for _, q := range t.params.List() {
		ts = append(ts, safetensors.F32(q.Name, q.Data, q.Slots, q.Rows, q.Cols))
	}
	if err := safetensors.Write(filepath.Join(to, trainableFile), ts, nil); err != nil {
		return nil, err
	}
	if err := safetensors.Write(filepath.Join(to, optimizerFile), optimizer,
		map[string]string{"step": strconv.Itoa(t.opt.Step)}); err != nil {
		return nil, err
	}
	files := []string{trainableFile, optimizerFile}
	for _, k := range st.Kept {
		if k.Path != "" {
			files = append(files, filepath.Base(k.Path))
		}
	}
	for _, m := range t.steppers { // an adapter has one method
		raw, err := m.State()
		if err != nil {
			return nil, err
		}
		if err := storage.WriteFile(filepath.Join(to, methodFile), raw); err != nil {
			return nil, err
		}
		files = append(files, methodFile)
	}
	s := *st
	s.Step, s.Total, s.Files = t.opt.Step, t.Total, map[string]string{}
	for _, f := range files {
		sum, err := storage.SHA256File(filepath.Join(to, f))
		if err != nil {
			return nil, err
		}
		s.Files[f] = sum
	}
	raw, err := s.encode(func(v any) ([]byte, error) { return storage.MarshalJSON(v, " ") })
	if err != nil {
		return nil, err
	}
	return append(files, stateFile), storage.WriteFile(filepath.Join(to, stateFile), raw)
}

// ReadState reads the state of a checkpoint folder and checks its files.
func ReadState(dir string) (*State, error) { return readState(dir, "") }

// readState is ReadState that leaves out files whose names begin with except, unless that is empty.
func readState(dir, except string) (*State, error) {
	s, err := readStateFile(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range s.names(except) {
		got, err := storage.SHA256File(filepath.Join(dir, f))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, damaged(dir, f, "the file is gone")
		}
		if err != nil {
			return nil, err
		}
		if got != s.Files[f] {
			return nil, damaged(dir, f, "its checksum is not the one that the checkpoint was written with")
		}
	}
	return s, nil
}

// names are the checkpoint's files, sorted, but those whose names begin with except ("" for none).
func (s *State) names(except string) []string {
	names := slices.Sorted(maps.Keys(s.Files))
	return slices.DeleteFunc(names, func(f string) bool { return except != "" && strings.HasPrefix(f, except) })
}

// Values is the SHA-256 sum of the file of the trained values of a checkpoint, hexadecimal.
func (s *State) Values() string { return s.Files[trainableFile] }

func damaged(dir, file, how string) error {
	return fmt.Errorf("%s: %s: delete the folder to resume from the one before", filepath.Join(dir, file), how)
}

func readStateFile(dir string) (*State, error) {
	raw, err := storage.ReadSmall(filepath.Join(dir, stateFile), storage.KindState)
	if err != nil {
		return nil, err
	}
	s, err := decodeState(raw)
	if err != nil {
		return nil, damaged(dir, stateFile, err.Error())
	}
	return s, nil
}

// ReadAdapter fills the parameters of an adapter, and its method's state, from a checkpoint folder.
func ReadAdapter(dir string, a *peft.Adapter, params *nn.Params) error {
	if err := ReadParams(dir, params); err != nil {
		return err
	}
	if m, ok := a.Method.(peft.Stepper); ok {
		return readMethod(dir, m)
	}
	return nil
}

func readMethod(dir string, m peft.Stepper) error {
	path := filepath.Join(dir, methodFile)
	raw, err := storage.ReadSmall(path, storage.KindState)
	if err != nil {
		return err
	}
	if err := m.SetState(raw); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// ReadParams fills the parameters from a checkpoint folder.
func ReadParams(dir string, params *nn.Params) error {
	f, err := safetensors.Open(filepath.Join(dir, trainableFile))
	if err != nil {
		return err
	}
	defer f.Close()
	if len(f.Names()) != len(params.List()) {
		return fmt.Errorf("%s: %d parameters, but the recipe trains %d", f.Path(), len(f.Names()), len(params.List()))
	}
	for _, q := range params.List() {
		if err := fill(f, q.Name, q.Data); err != nil {
			return err
		}
	}
	return nil
}

func fill(f *safetensors.File, name string, dst []float32) error {
	x, err := f.Float32(name)
	if err != nil {
		return err
	}
	if len(x) != len(dst) {
		return fmt.Errorf("%s: %q has %d values, want %d", f.Path(), name, len(x), len(dst))
	}
	copy(dst, x)
	return nil
}

// Load continues from a checkpoint folder.
func (t *Trainer) Load(dir string) (*State, error) { return t.load(dir, t.opt.Each) }

// load is Load with the arrays of an optimiser's state that each calls its function for.
func (t *Trainer) load(dir string, each func(func(name string, x []float32))) (*State, error) {
	s, err := readState(dir, keptPrefix) // what another replica keeps does not concern this one; its own it checks when it opens it
	if err != nil {
		return nil, err
	}
	if err := ReadParams(dir, t.params); err != nil {
		return nil, err
	}
	for _, m := range t.steppers {
		if err := readMethod(dir, m); err != nil {
			return nil, err
		}
	}
	f, err := safetensors.Open(filepath.Join(dir, optimizerFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	each(func(name string, x []float32) {
		if err == nil {
			err = fill(f, name, x)
		}
	})
	t.opt.Step = s.Step
	return s, err
}

// Prune deletes old checkpoints so that at most limit remain, never the newest and never keep. limit 0 keeps all.
func Prune(dir string, limit, keep int) error {
	steps, err := Checkpoints(dir)
	if err != nil {
		return err
	}
	for _, step := range outdated(steps, limit, keep) {
		// The state goes first: without it the folder is not a checkpoint.
		d := CheckpointDir(dir, step)
		if err := os.Remove(filepath.Join(d, stateFile)); err != nil {
			return err
		}
		if err := os.RemoveAll(d); err != nil {
			return err
		}
	}
	return nil
}

// outdated are those of the steps of checkpoints, ascending, that go so that at most limit remain, never the newest and never keep; none
// where limit is 0.
func outdated(steps []int, limit, keep int) (old []int) {
	if limit <= 0 {
		return nil
	}
	for left := len(steps); left > limit && len(steps) > 1; steps = steps[1:] {
		if steps[0] != keep {
			old, left = append(old, steps[0]), left-1
		}
	}
	return old
}
