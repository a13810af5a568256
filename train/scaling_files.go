package train

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// RoundFiles are the lengths in bytes of the files of a job's rounds and checkpoints: see round.go and round_sharded.go. They are those of
// the files themselves, headers and all, with two exceptions: what topk sends depends on where the largest values lie (taken as evenly
// spread), and what the state's log takes depends on how many digits its numbers have.
type RoundFiles struct {
	Updates   []int64 // what a replica sends, by shard of the optimiser's state; one where it is not sharded
	Kept      int64   // what a replica keeps for its next round; 0 for no file
	State     int64   // what a round starts from, with an empty log
	Values    int64   // of it, the tensors without the header
	Log       int64   // of it, an entry of the log: one a round since the last checkpoint
	Sums      []int64 // of each shard, the replicas' gradients added
	Shards    []int64 // of each shard, the parameters and the optimiser's state
	Trainable int64   // of a checkpoint, the parameters
	Optimizer int64   // of a checkpoint, the optimiser

	keptHeader int64 // of Kept, which is read once more when it is copied
}

// Update is what a replica sends in all.
func (f *RoundFiles) Update() int64 { return total(f.Updates) }

func total(x []int64) (n int64) {
	for _, v := range x {
		n += v
	}
	return n
}

// FilesOf computes the files of the rounds of args for parameters whose values are not looked at; method is the length of the state of a
// method that steps itself (peft.Stepper), 0 for none. The settings have passed Validate.
func FilesOf(args *Args, params *nn.Params, method int) (*RoundFiles, error) {
	c, err := args.codec()
	if err != nil {
		return nil, err
	}
	job := &Job{Args: *args}
	local, sharded := args.Mode == "local" && job.rounds(), job.sharded()
	// The arrays of the optimiser that replicas or the combining process have, and of the one that the state has.
	inner := map[string][]safetensors.Tensor{}
	r := optimizerByName(args.Optim)
	o, _ := r.options.with("optim_args", args.Optim, args.OptimArgs)
	var trained []*nn.Param
	for _, q := range params.List() {
		for _, s := range r.list(o, q) {
			inner[q.Name] = append(inner[q.Name], empty(q.Name+"/"+s.name, s.size))
		}
		if !q.Frozen {
			trained = append(trained, q)
		}
	}
	f := &RoundFiles{}
	sum := func(ts []safetensors.Tensor, meta map[string]string) int64 {
		n, e := safetensors.Size(ts, meta)
		if e != nil && err == nil {
			err = e
		}
		return n
	}
	param := func(prefix string, q *nn.Param) safetensors.Tensor {
		return empty(prefix+q.Name, q.Slots, q.Rows, q.Cols)
	}

	parts := [][]*nn.Param{trained}
	if sharded {
		names, _ := ShardParams(args, params, args.OptimizerShards)
		parts = nil
		for _, list := range names {
			var part []*nn.Param
			for _, n := range list {
				part = append(part, params.Get(n))
			}
			parts = append(parts, part)
		}
	}
	for _, part := range parts {
		var update, added, shard []safetensors.Tensor
		for _, q := range part {
			n := c.size(c.o, len(q.Data))
			if c.dtype == "F32" {
				n = len(q.Data)
			}
			update = append(update, safetensors.Tensor{Name: q.Name, DType: c.dtype, Shape: []int{n}})
			added = append(added, empty(q.Name, len(q.Data)))
			shard = append(shard, param("param/", q))
			shard = append(shard, prefixed("optimizer/", inner[q.Name])...)
		}
		f.Updates = append(f.Updates, sum(update, updateMeta(c.name, tally{})))
		if sharded {
			f.Sums, f.Shards = append(f.Sums, sum(added, nil)), append(f.Shards, sum(shard, nil))
		}
	}

	var kept, state, trainable, optimizer []safetensors.Tensor
	for _, q := range params.List() {
		trainable = append(trainable, param("", q))
		if !sharded || q.Frozen {
			state = append(state, param("param/", q))
		}
		switch outer := empty(q.Name+"/outer_momentum", len(q.Data)); {
		case local && !q.Frozen:
			kept = append(kept, prefixed("optimizer/", inner[q.Name])...)
			optimizer = append(optimizer, outer)
		case !local:
			optimizer = append(optimizer, inner[q.Name]...)
		}
		if c.lossy() && job.rounds() && !q.Frozen {
			kept = append(kept, empty("rest/"+q.Name, len(q.Data)))
		}
	}
	if !sharded {
		state = append(state, prefixed("optimizer/", optimizer)...)
	}
	if method > 0 {
		state = append(state, safetensors.Tensor{Name: methodFile, DType: "U8", Shape: []int{method}})
	}
	if len(kept) > 0 {
		f.Kept = sum(kept, nil)
		f.keptHeader = f.Kept - dataBytes(kept)
	}
	f.Trainable, f.Optimizer = sum(trainable, nil), sum(optimizer, map[string]string{"step": strconv.Itoa(max(1, args.MaxSteps))})

	st := typicalState(args, f)
	raw, e := json.Marshal(st)
	if e != nil {
		return nil, e
	}
	st.History = append(st.History, typicalStep(args, f))
	more, e := json.Marshal(st)
	if e != nil {
		return nil, e
	}
	f.Values = dataBytes(state)
	f.State = sum(state, map[string]string{"state": string(raw), "sha256": strings.Repeat("0", 64)})
	f.Log = sum(state, map[string]string{"state": string(more), "sha256": strings.Repeat("0", 64)}) - f.State
	return f, err
}

// dataBytes is the length of tensors without a header.
func dataBytes(ts []safetensors.Tensor) (n int64) {
	for _, t := range ts {
		size := int64(1)
		if t.DType == "F32" {
			size = 4
		}
		for _, d := range t.Shape {
			size *= int64(d)
		}
		n += size
	}
	return n
}

func empty(name string, shape ...int) safetensors.Tensor {
	return safetensors.Tensor{Name: name, DType: "F32", Shape: shape}
}

func prefixed(prefix string, ts []safetensors.Tensor) (out []safetensors.Tensor) {
	for _, t := range ts {
		t.Name = prefix + t.Name
		out = append(out, t)
	}
	return out
}

// typicalState is a state with numbers of usual length.
func typicalState(args *Args, f *RoundFiles) State {
	hash := strings.Repeat("0", 64)
	st := State{Version: stateVersion, Seal: hash, Step: 100, Total: max(100, args.MaxSteps), Binding: hash, History: []StepInfo{},
		TokensSeen: 1 << 20, Seconds: 100.0 / 3, Kept: make([]FileRef, args.Replicas)}
	if f.Kept > 0 {
		for i := range st.Kept {
			st.Kept[i] = FileRef{filepath.Join(roundPath(100), keptName(i)), hash, f.Kept}
		}
	}
	for k, n := range f.Shards {
		st.Shards = append(st.Shards, FileRef{filepath.Join(roundPath(100), shardName(k)), hash, n})
	}
	return st
}

// typicalStep is a log entry with numbers of usual length.
func typicalStep(args *Args, f *RoundFiles) StepInfo {
	return StepInfo{Step: 100, Loss: 10.0 / 3, LearningRate: 1e-3 / 3, GradNorm: 1.0 / 3, Tokens: 4096, Seconds: 1.234567891,
		BytesSent: f.Update() * int64(args.Replicas), BytesReceived: f.Trainable * int64(args.Replicas)}
}

func shardName(k int) string { return fmt.Sprintf("shard-%03d.safetensors", k) }
