package peft

import (
	"fmt"

	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/nn"
)

// MultitaskPromptTuningConfig is HF's MultitaskPromptTuningConfig.
type MultitaskPromptTuningConfig struct {
	Common
	PromptFields
	PromptInit
	StateDictPath *string `json:"prompt_tuning_init_state_dict_path"`
	InitTask      int     `json:"prompt_tuning_init_task"`
	NumRanks      int     `json:"num_ranks"`
	NumTasks      int     `json:"num_tasks"`
}

// multitaskPromptTuning is multitask prompt tuning (Wang et al. 2023, arXiv:2303.02861): the prompt of task k is P ⊙ (U_k·V_k), a shared
// prompt P [n, D] times a low-rank matrix of the task's own, U_k [n, num_ranks] and V_k [num_ranks, D]. The task of each document is
// nn.Step.Tasks, 0 where a step names none. A trained source adapter may give the first values.
type multitaskPromptTuning struct {
	prompts
	cfg MultitaskPromptTuningConfig
}

func newMultitaskPromptTuning() Method {
	p := &multitaskPromptTuning{cfg: MultitaskPromptTuningConfig{Common: newCommon("MULTITASK_PROMPT_TUNING"),
		PromptInit: PromptInit{PromptTuningInit: initRandom}, NumRanks: 1, NumTasks: 1}}
	p.method = "MULTITASK_PROMPT_TUNING"
	return p
}

func (p *multitaskPromptTuning) Config() any { return &p.cfg }

// Tasks is the number of tasks that have prompts of their own.
func (p *multitaskPromptTuning) Tasks() int { return p.cfg.NumTasks }

// Attach implements Method.
func (p *multitaskPromptTuning) Attach(sites []nn.Site, env Env) error {
	c := &p.cfg
	if err := p.shape(&c.PromptFields, sites, false); err != nil {
		return err
	}
	if err := firstError(atLeast(p.method, "num_ranks", c.NumRanks, 1), atLeast(p.method, "num_tasks", c.NumTasks, 1)); err != nil {
		return err
	}
	d := p.embed.D
	name, cols, rows := encoderName("embedding.weight"), encoderName("prefix_task_cols"), encoderName("prefix_task_rows")
	init, err := p.start(&c.PromptInit, c.InferenceMode, name, env, initRandom, initText, "AVERAGE_SOURCE_TASKS", "EXACT_SOURCE_TASK",
		"ONLY_SOURCE_SHARED")
	if err != nil {
		return err
	}
	p.params = []*Param{newParam(name, "prompt_embeddings", init, p.nv, d),
		newParam(cols, "prefix_task_cols", normal(env.Seed, cols, 0.02), c.NumTasks, p.nv, c.NumRanks),
		newParam(rows, "prefix_task_rows", normal(env.Seed, rows, 0.02), c.NumTasks, c.NumRanks, d)}
	if c.InferenceMode || c.PromptTuningInit == initRandom || c.PromptTuningInit == initText {
		return nil
	}
	return p.source()
}

// source takes the first values from a trained adapter's file: all its tasks' mean, one task, or the shared prompt alone.
func (p *multitaskPromptTuning) source() error {
	c := &p.cfg
	if c.StateDictPath == nil {
		return fmt.Errorf("peft: %s: prompt_tuning_init %s needs prompt_tuning_init_state_dict_path, an adapter_model.safetensors",
			p.method, c.PromptTuningInit)
	}
	f, err := safetensors.Open(*c.StateDictPath)
	if err != nil {
		return fmt.Errorf("peft: %s: prompt_tuning_init_state_dict_path: %w", p.method, err)
	}
	defer f.Close()
	shared := c.PromptTuningInit == "ONLY_SOURCE_SHARED"
	if !shared && c.NumTasks != 1 {
		return fmt.Errorf("peft: %s: prompt_tuning_init %s makes one task of the source's, so num_tasks must be 1", p.method,
			c.PromptTuningInit)
	}
	for i, q := range p.params {
		if i > 0 && shared {
			break
		}
		if i == 0 {
			v, err := tensor(f, *c.StateDictPath, q.Key, q.Shape)
			if err != nil {
				return err
			}
			q.Init = func(d []float32) { copy(d, v) }
			continue
		}
		info, _ := f.Info(q.Key)
		if len(info.Shape) != 3 || info.Shape[1] != q.Shape[1] || info.Shape[2] != q.Shape[2] {
			return fmt.Errorf("peft: %s: tensor %q has the shape %v, want [tasks, %d, %d]", *c.StateDictPath, q.Key, info.Shape,
				q.Shape[1], q.Shape[2])
		}
		tasks := info.Shape[0]
		v, err := f.Float32(q.Key)
		if err != nil {
			return fmt.Errorf("peft: %w", err)
		}
		if c.InitTask < 0 || c.InitTask >= tasks {
			return fmt.Errorf("peft: %s: prompt_tuning_init_task = %d, but %s has %d tasks", p.method, c.InitTask, *c.StateDictPath, tasks)
		}
		n := len(v) / tasks
		mean := c.PromptTuningInit == "AVERAGE_SOURCE_TASKS"
		q.Init = func(d []float32) {
			if !mean {
				copy(d, v[c.InitTask*n:(c.InitTask+1)*n])
				return
			}
			clear(d)
			for k, x := range v {
				d[k%n] += x / float32(tasks)
			}
		}
	}
	return nil
}

// Adapt implements nn.Adapter.
func (p *multitaskPromptTuning) Adapt(b *nn.Builder, s nn.Site) nn.Ref {
	if !p.at(s) {
		return s.Out
	}
	c := &p.cfg
	return b.Apply(&taskPromptOp{promptOp{p.embed.D, p.nv, p.scale()}, c.NumTasks, c.NumRanks}, s.Out, p.params[0].param(b),
		p.params[1].param(b), p.params[2].param(b))
}

// taskPromptOp is promptOp whose prompts are P ⊙ (U·V) of each document's task. The inputs are y [T, D] and the banks of P [n, D],
// U [tasks, n·r] and V [tasks, r·D].
type taskPromptOp struct {
	promptOp
	tasks, r int
}

// Plan implements nn.Op.
func (o *taskPromptOp) Plan(in []nn.Shape, want []bool) nn.Plan {
	return nn.Plan{Out: in[0], ReadsIn: []bool{false, true, true, true}, InPlace: []bool{true, false, false, false}, Wide: true,
		Scratch: func(nn.Caps, int) int { return 2 * o.rows * o.d }}
}

// each calls f for every document with virtual rows: its first row, slot and task.
func (o *taskPromptOp) each(w *nn.Work, f func(at, slot, task int)) {
	for i, n := range w.Step.Virtual {
		if n == 0 {
			continue
		}
		task := 0
		if w.Step.Tasks != nil {
			task = int(w.Step.Tasks[i])
		}
		if task < 0 || task >= o.tasks {
			panic(fmt.Sprintf("peft: document %d is of task %d, but num_tasks is %d", i, task, o.tasks))
		}
		f(int(w.Step.Docs[i].Start)*o.d, int(w.Step.Docs[i].Slot), task)
	}
}

// factors cuts P, U and V of a slot and task out of their banks.
func (o *taskPromptOp) factors(in [][]float32, slot, task int) (p, u, v []float32) {
	return nn.Bank(in[1], slot, o.rows*o.d), nn.Bank(in[2], slot*o.tasks+task, o.rows*o.r), nn.Bank(in[3], slot*o.tasks+task, o.r*o.d)
}

// Forward implements nn.Op.
func (o *taskPromptOp) Forward(w *nn.Work) {
	if len(w.Out) > 0 && &w.Out[0] != &w.In[0][0] {
		copy(w.Out, w.In[0])
	}
	uv := w.Scratch[:o.rows*o.d]
	o.each(w, func(at, slot, task int) {
		p, u, v := o.factors(w.In, slot, task)
		product(nil, uv, u, v, o.rows, o.r, o.d, 1)
		for j := range uv {
			w.Out[at+j] = o.scale * p[j] * uv[j]
		}
	})
}

// Backward implements nn.Op.
func (o *taskPromptOp) Backward(w *nn.Work) {
	if w.DIn[0] != nil {
		o.promptOp.Backward(&nn.Work{Step: w.Step, Pool: w.Pool, In: w.In[:2], DIn: [][]float32{w.DIn[0], nil}, DOut: w.DOut})
	}
	uv, g := w.Scratch[:o.rows*o.d], w.Scratch[o.rows*o.d:2*o.rows*o.d]
	o.each(w, func(at, slot, task int) {
		p, u, v := o.factors(w.In, slot, task)
		dp, du, dv := o.factors(w.DIn, slot, task)
		product(nil, uv, u, v, o.rows, o.r, o.d, 1)
		for j := range uv {
			d := o.scale * w.DOut[at+j]
			if dp != nil {
				dp[j] += float32(d * uv[j])
			}
			g[j] = d * p[j]
		}
		productGrad(nil, g, u, v, du, dv, o.rows, o.r, o.d)
	})
}
