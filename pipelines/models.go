package pipelines

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path"
	"path/filepath"
	"runtime/debug"
	"strings"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/internal/hub"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/model"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/quant"
	"github.com/adaptflow/adaptflow/templates/assets"
	"github.com/adaptflow/adaptflow/tokenize"
	core "github.com/adaptflow/adaptflow/train"
)

// Loaded is a base model with an adapter or without, ready for programs.
type Loaded struct {
	Dir string
	// Tokenizer is the folder with the tokenizer: the adapter's where that has one.
	Tokenizer string
	Model     *model.Model
	Adapter   *peft.Adapter // nil for the base alone
	Adapters  []nn.Adapter
	Params    *nn.Params
	Pool      *pool.Pool
	Ends      tokenize.Ends // what stands around a prompt, and ends what is generated with an adapter
	rows      []int         // slot of each row of a batch, see LoadAdapters
	// Empty says why the last continuation shows nothing, "" where it shows something; of samples, how many do not.
	Empty string
}

// ResolveModel returns the folder of the model that ref names: a folder, embedded:NAME, or org/name (org/name@revision) of the hub, which is
// downloaded into the cache of Hugging Face's libraries unless it is there. A folder of that name is preferred to the hub. say is told of
// each file that is downloaded; nil for the standard error.
func ResolveModel(ref string, say func(format string, a ...any)) (string, error) {
	if _, err := os.Stat(ref); err == nil || !hub.Is(ref) {
		return assets.Resolve(ref)
	}
	if say == nil {
		say = func(format string, a ...any) { fmt.Fprintf(os.Stderr, format+"\n", a...) }
	}
	c, err := hub.FromEnv()
	if err != nil {
		return "", err
	}
	last := ""
	c.Progress = func(file string, done, total int64) {
		if file != last {
			last = file
			say("downloading %s: %s, %.1f MiB", ref, file, float64(total-done)/(1<<20))
		}
	}
	dir, err := c.Snapshot(context.Background(), ref)
	if err != nil {
		return "", fmt.Errorf("no folder here is called %s; on the hub: %w", ref, err)
	}
	return dir, nil
}

// OtherBase says that an adapter folder names another base model than the one at base, whose shapes may fit all the same; "" where it does not. A model
// that was copied keeps the last part of its name.
func OtherBase(base, adapter string) string {
	if adapter == "" {
		return ""
	}
	dir, err := ResolveModel(base, nil)
	if err != nil {
		return "" // opening it says so
	}
	made, err := peft.BaseOf(adapter)
	if last := path.Base(filepath.ToSlash(made)); err != nil || made == "" || last == filepath.Base(dir) || last == path.Base(filepath.ToSlash(base)) {
		return ""
	}
	return fmt.Sprintf("%s was made for the base model %s, and this is %s: over another model than its own an adapter gives nonsense", adapter, made, base)
}

// AdapterWarnings says what a user should know of an adapter folder over the model at base: that it names another base, and which fields of its
// configuration are passed over.
func AdapterWarnings(base, adapter string) (out []string) {
	if adapter == "" {
		return nil
	}
	if s := OtherBase(base, adapter); s != "" {
		out = append(out, s)
	}
	if fields := peft.Ignored(adapter); len(fields) > 0 {
		out = append(out, fmt.Sprintf("%s: fields that adaptflow does not have, and that are not in use or change nothing here, are ignored: %s",
			filepath.Join(adapter, peft.ConfigFile), strings.Join(fields, ", ")))
	}
	return out
}

// LoadModel loads the model at ref (see [ResolveModel]) and the adapter folder, which may be empty.
func LoadModel(ref, adapter string) (*Loaded, error) { return loadModel(ref, adapter, "float32") }

// loadModel is LoadModel with the weights stored as a [quant.Spec] says.
func loadModel(ref, adapter, storage string) (*Loaded, error) {
	task := model.Task{}
	if adapter != "" {
		name, classes, err := peft.TaskOf(adapter)
		if err != nil {
			return nil, err
		}
		if classes > 0 {
			task = model.Task{Type: name, NumLabels: classes}
		}
	}
	l, err := loadBase(ref, storage, task, adapter)
	if err != nil || adapter == "" {
		return l, err
	}
	l.Tokenizer = tokenizerOf(l.Dir, adapter)
	if l.Adapter, err = core.OpenAdapter(l.Model, adapter, "", nil, l.Dir, 0); err != nil {
		return nil, err
	}
	l.Adapters = []nn.Adapter{l.Adapter}
	return l, nil
}

// loadBase loads the model at ref for adapters, of which one may bring the embeddings that all have.
func loadBase(ref, storage string, task model.Task, adapters ...string) (*Loaded, error) {
	dir, err := ResolveModel(ref, nil)
	if err != nil {
		return nil, err
	}
	if task, err = core.WithEmbeddings(dir, task, adapters...); err != nil {
		return nil, err
	}
	m, err := core.BaseFor(dir, storage, task)
	if err != nil {
		return nil, err
	}
	return &Loaded{Dir: dir, Tokenizer: tokenizerOf(dir, task.Embeddings), Model: m, Params: nn.NewParams(1), Pool: pool.New(0)}, nil
}

// tokenizerOf is the folder whose tokenizer goes with a base model and an adapter: the adapter's, where its training saved one with it.
func tokenizerOf(dir, adapter string) string {
	if adapter != "" {
		if _, err := os.Stat(filepath.Join(adapter, "tokenizer.json")); err == nil {
			return adapter
		}
	}
	return dir
}

// tokenizer opens the tokenizer, with what stands around a text.
func (l *Loaded) tokenizer() (tokenize.Tokenizer, *tokenize.Frame, error) {
	tk, err := tokenize.Load(l.Tokenizer)
	if err != nil {
		return nil, nil, err
	}
	f, err := l.Ends.Frame(tk)
	return tk, f, err
}

// Close frees the adapter's memory.
func (l *Loaded) Close() {
	l.Params.Free()
	l.Pool.Close()
}

// Sampling fills in what the model's generation_config.json says of the settings that were not given, by transformers' names. unused names what that file
// asks for and is not done.
func (l *Loaded) Sampling(s evaluate.Sampling, given func(name string) bool) (_ evaluate.Sampling, unused []string, err error) {
	g, err := evaluate.ReadGenerationConfig(l.Dir)
	if err != nil {
		return s, nil, err
	}
	g.Fill(&s, given)
	return s, g.Unused(), s.Validate()
}

// Generate continues a prompt with the model of l.
func (l *Loaded) Generate(prompt string, s evaluate.Sampling, each func(string)) (string, error) {
	tk, f, err := l.tokenizer()
	if err != nil {
		return "", err
	}
	stop := stopIDs(l.Model, f, len(l.Adapters) > 0)
	text, ids, err := generate(l.Model, tk, f, l.Pool, l.Adapters, l.Params, prompt, s, stop, each)
	if l.Empty = ""; err == nil {
		l.Empty = whyEmpty(tk, stop, ids)
	}
	return text, err
}

func generate(m *model.Model, tk tokenize.Tokenizer, f *tokenize.Frame, p *pool.Pool, adapters []nn.Adapter, params *nn.Params, prompt string,
	s evaluate.Sampling, stop []int32, each func(string)) (string, []int32, error) {
	ids, err := promptIDs(m, f, prompt)
	if err != nil {
		return "", nil, err
	}
	if len(ids) == 0 {
		return "", nil, errors.New("the prompt has no tokens, and config.json names no bos_token_id to begin a text with: give a prompt that is not empty")
	}
	context := min(m.Config.MaxPositions-nn.PromptOf(adapters).Positions(), len(ids)+s.MaxNewTokens)
	g, err := evaluate.NewGenerator(m, adapters, params, p, m.Config.Vocab, context, 1)
	if err != nil {
		return "", nil, err
	}
	defer g.Close()
	var got []int32
	shown := ""
	out, err := g.Generate(ids, s, stop, func(id int32) bool {
		got = append(got, id)
		if each != nil {
			// A character may take several tokens: only what is whole is shown.
			if text := tk.Decode(got, true); strings.HasPrefix(text, shown) && !strings.HasSuffix(text, "\uFFFD") {
				each(text[len(shown):])
				shown = text
			}
		}
		return true
	})
	if err != nil {
		return "", nil, err
	}
	return tk.Decode(out, true), out, nil
}

// Logits computes the logits of every token of a batch: input holds input_ids [B, T] and perhaps attention_mask, the output file gets
// logits F32 [B, T, V], zero at masked positions; of a classifier V is the number of classes.
func (l *Loaded) Logits(input, output string) error {
	if err := storage.CheckTarget(output); err != nil {
		return err
	}
	f, err := safetensors.Open(input)
	if err != nil {
		return err
	}
	defer f.Close()
	info, ok := f.Info("input_ids")
	if !ok || len(info.Shape) != 2 {
		return fmt.Errorf("%s: it needs a tensor input_ids of shape [B, T]", input)
	}
	ids, err := f.Int64("input_ids")
	if err != nil {
		return err
	}
	b, t, vocab, v := info.Shape[0], info.Shape[1], l.Model.Config.Vocab, l.Model.Config.Outputs()
	if b == 0 || t == 0 {
		return fmt.Errorf("%s: input_ids is empty", input)
	}
	for i, id := range ids {
		if id < 0 || id >= int64(vocab) {
			return fmt.Errorf("%s: input_ids holds %d at row %d, column %d, but the vocabulary is %d", input, id, i/t, i%t, vocab)
		}
	}
	if n := l.Model.Config.MaxPositions - nn.PromptOf(l.Adapters).Positions(); t > n {
		return fmt.Errorf("%s: rows of %d tokens, but the model has %d positions for text", input, t, n)
	}
	var mask []int64
	if m, ok := f.Info("attention_mask"); ok {
		if len(m.Shape) != 2 || m.Shape[0] != b || m.Shape[1] != t {
			return fmt.Errorf("%s: attention_mask has shape %v, input_ids %v", input, m.Shape, info.Shape)
		}
		if mask, err = f.Int64("attention_mask"); err != nil {
			return err
		}
	}
	out := make([]float32, b*t*v)
	p, err := nn.Compile(l.Model, l.Adapters, l.Params, nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: t, S: t, N: 1}, Pool: l.Pool})
	if err != nil {
		return err
	}
	defer p.Close()
	for r := range b {
		var m []int64
		if mask != nil {
			m = mask[r*t : (r+1)*t]
		}
		s, at := nn.FromBatch(ids[r*t:(r+1)*t], m, nil, 1, t)
		if len(at) == 0 {
			continue
		}
		if err := l.segments(s, r, b); err != nil {
			return err
		}
		row := p.Forward(s, false)
		for i, k := range at {
			copy(out[(r*t+k)*v:(r*t+k+1)*v], row[i*v:(i+1)*v])
		}
	}
	return safetensors.Write(output, []safetensors.Tensor{safetensors.F32("logits", out, b, t, v)}, nil)
}

// mergeTolerance is the largest difference of a logit that merging may make when the merged weights are stored in float32.
const mergeTolerance = 1e-3

// mostWeight bounds the share of an adapter's change that is merged. Beyond 1 it extrapolates, which models stand a few times over.
const mostWeight = 1e6

// mergeStorage is how a model is opened that is passed through once: a matrix is read from its file by each use.
const mergeStorage = "float32@" + quant.Reread

// Merge writes the base model with the adapter merged into its weights to the folder to, in dtype ("float32", "float16", "bfloat16"; empty
// for the base's own), and checks logits before and after.
//
// weight is the share of the adapter's change that is merged: each tensor becomes base + weight·(merged - base). 1 is the adapter; between 0 and
// 1 lie the models of WiSE-FT (Wortsman et al. 2022, arXiv:2109.01903), which keep more of what the base knows of other text.
func Merge(base, adapter, to, dtype string, weight float64) (err error) {
	if !(math.Abs(weight) <= mostWeight) {
		return fmt.Errorf("merging with a weight of %g: it must be a number between -%g and %g, 1 for the adapter as it is", weight, mostWeight, mostWeight)
	}
	defer quant.CatchRead(&err)
	l, err := loadModel(base, adapter, mergeStorage)
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := os.Stat(filepath.Join(to, "config.json")); err == nil {
		return fmt.Errorf("%w: %s already holds a model", storage.ErrInUse, to)
	}
	if names, err := peft.ClassNames(adapter); err != nil {
		return err
	} else if len(names) > 0 && l.Model.Config.Task == "SEQ_CLS" {
		if err := l.Model.NameClasses(names); err != nil {
			return fmt.Errorf("%s: %w", adapter, err)
		}
	}
	before, err := probe(l.Model, l.Adapters, l.Params, l.Pool)
	if err != nil {
		return err
	}
	changed, err := l.Adapter.MergeStream(l.Params, 0, l.Model.Tensor, weight)
	if err != nil {
		return err
	}
	l.Model.UseTokenizer(adapter)
	if _, f, err := l.tokenizer(); err == nil { // a folder whose tokenizer cannot be read is a model nevertheless
		l.Model.EndAt(stopIDs(l.Model, f, true))
	}
	if err := l.Model.SaveWith(to, dtype, changed.Sizes(), func(name string) ([]float32, error) {
		if changed.Sizes()[name] >= 1<<22 {
			debug.FreeOSMemory() // the tensor before is garbage, and would stay resident beside this one
		}
		return changed.Tensor(name)
	}); err != nil {
		return err
	}
	merged, err := model.LoadAs(to, mergeStorage)
	if err != nil {
		return fmt.Errorf("the merged model does not load: %w", err)
	}
	defer merged.Close()
	after, err := probe(merged, nil, nn.NewParams(1), l.Pool)
	if err != nil {
		return err
	}
	if kernels.NonFinite(after) >= 0 {
		return fmt.Errorf("%s: with a weight of %g the merged model's logits are not finite: do not use it", to, weight)
	}
	worst := 0.0
	for i := range before {
		worst = max(worst, math.Abs(float64(before[i]-after[i])))
	}
	if weight == 1 && (dtype == "float32" || dtype == "" && l.Model.Config.DType == "float32") && !(worst <= mergeTolerance) {
		return fmt.Errorf("%s: merging moved a logit by %g: the merged model is not base and adapter; do not use it", to, worst)
	}
	return nil
}

// probe is the logits of a fixed row of tokens.
func probe(m *model.Model, adapters []nn.Adapter, params *nn.Params, p *pool.Pool) ([]float32, error) {
	n := min(24, m.Config.MaxPositions)
	s := &nn.Step{Docs: []kernels.Doc{{End: int32(n)}}}
	for i := range n {
		s.Tokens = append(s.Tokens, int32((i*2654435761+17)%m.Config.Vocab))
		s.Positions = append(s.Positions, int32(i))
		s.Rows = append(s.Rows, int32(i))
	}
	prog, err := nn.Compile(m, adapters, params, nn.Options{Mode: nn.ModeLogits, Caps: nn.Caps{T: n, S: n, N: 1}, Pool: p})
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	return append([]float32(nil), prog.Forward(s, false)...), nil
}

// ReadMetrics reads the summary of a finished run.
func ReadMetrics(output string) (*Metrics, error) {
	raw, err := storage.ReadSmall(filepath.Join(output, MetricsFile), storage.KindState)
	if err != nil {
		return nil, err
	}
	var m Metrics
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(output, MetricsFile), err)
	}
	return &m, nil
}
