package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/internal/mem"
	"github.com/adaptflow/adaptflow/internal/philox"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/quant"
)

// Task is what a model is opened for; it decides the head.
type Task struct {
	Type      string // a row of the table of heads: CAUSAL_LM or SEQ_CLS; empty for what config.json says
	NumLabels int    // classes of SEQ_CLS; 0 for what config.json says
	Seed      uint64 // of a head that the folder does not have
	// Embeddings is an adapter's folder whose embedding and head take the place of the model's, with as many tokens as they have; empty for
	// the model's own. Trained are, by commas, the adapter's modules_to_save: of a copy that it trains, only the rows are taken that the
	// model lacks.
	Embeddings string `json:",omitempty"`
	Trained    string `json:",omitempty"`
}

// headKind is a row of the table of heads.
type headKind struct {
	task string // Hugging Face PEFT's task_type
	// architecture is the family's value in config.json with this head.
	architecture func(f *family) string
	// open reads the head's weights.
	open func(l *loader, c *Config, lm lmHead) head
}

// heads is the table of heads. A new one is a row here.
var heads = []headKind{
	{task: "CAUSAL_LM", architecture: func(f *family) string { return f.architecture }, open: openLMHead},
	{task: "SEQ_CLS", architecture: classifier, open: openScore},
}

// classifier is the family's architecture with a classification head.
func classifier(f *family) string {
	stem := strings.TrimSuffix(strings.TrimSuffix(f.architecture, "ForCausalLM"), "LMHeadModel")
	if stem == "Gemma3" {
		stem = "Gemma3Text" // Gemma3ForSequenceClassification takes images too
	}
	return stem + "ForSequenceClassification"
}

// headFor is the row of a task.
func headFor(task string) (*headKind, error) {
	var names []string
	for i := range heads {
		if heads[i].task == task {
			return &heads[i], nil
		}
		names = append(names, heads[i].task)
	}
	return nil, fmt.Errorf("task %q is unknown; known are %s", task, strings.Join(names, ", "))
}

// lmHead is how a family stores its language model's head.
type lmHead struct {
	module string       // "lm_head"
	embed  quant.Weight // of the embedding that it may be tied to
	in     int
	bias   bool
	cap    float32 // soft cap of the logits
}

// head is the head of an open model.
type head struct {
	module  string
	w       quant.Weight // [out, in]
	bias    []float32
	out, in int
	cap     float32
}

// head reads the head that the model is opened with.
func (l *loader) head(c *Config, lm lmHead) head {
	k, err := headFor(c.Task)
	if err != nil {
		l.fail("%w", err)
		return head{}
	}
	return k.open(l, c, lm)
}

// openLMHead reads the head's weight, [vocabulary, in]: the embedding's where they are tied, which a file may store twice all the same.
func openLMHead(l *loader, c *Config, lm lmHead) head {
	h := head{module: lm.module, out: c.Vocab, in: lm.in, cap: lm.cap, w: lm.embed}
	if c.Tied {
		l.used[lm.module+".weight"] = true
	} else {
		h.w = l.matrix(lm.module, c.Vocab, lm.in, false)
	}
	if lm.bias {
		h.bias = l.vector(lm.module+".bias", c.Vocab)
	}
	return h
}

// mostLabels bounds the classes of a head that starts from a seed; one of a folder has what its tensor has.
const mostLabels = 1 << 17

// openScore reads the classes' scores, a linear layer without bias over the last token's hidden state. A folder of a language model has
// none: then its values start from the seed, normal with deviation initializer_range.
func openScore(l *loader, c *Config, lm lmHead) head {
	h := head{module: "score", out: c.NumLabels, in: lm.in}
	if l.src == nil {
		h.w = l.matrix(h.module, h.out, h.in, false)
		return h
	}
	if _, ok := l.src.Info("score.weight"); ok {
		h.w = l.matrix(h.module, h.out, h.in, false)
		return h
	}
	for _, n := range []string{".weight", ".bias"} {
		l.used[lm.module+n] = true
	}
	std := 0.02
	if err := c.fields(field{"initializer_range", &std, false}); err != nil {
		l.fail("%w", err)
		return h
	}
	if l.err != nil { // such as an embedding that has not the hidden size that config.json says
		return h
	}
	if h.out > mostLabels || mem.Floats(h.out, h.in) > 1<<28 {
		l.fail("num_labels is %d: a head of so many classes and %d inputs is out of proportion", h.out, h.in)
		return h
	}
	x := make([]float32, h.out*h.in)
	philox.NewKey(c.seed, "weights", "score.weight").FillNormal(x, 0, std)
	l.params += int64(len(x))
	if l.err == nil {
		h.w = l.keep(l.store.Dense.New(h.out, h.in, x, h.in, 1, l.store.Half()))
	}
	c.fresh = map[string][]float32{"score.weight": x}
	return h
}

// finish ends a program with the head.
func (h *head) finish(b *nn.Builder, x nn.Ref) {
	b.Finish(b.Site(nn.KindHead, h.module, -1, &nn.Head{W: h.w, Bias: h.bias, V: h.out, D: h.in, SoftCap: h.cap}, x))
}

// setTask resolves the task against config.json, whose architecture has the head named found.
func (c *Config) setTask(found string, t Task) error {
	c.Task = found
	if t.Type != "" {
		if _, err := headFor(t.Type); err != nil {
			return err
		}
		if t.Type != found && t.Type == "CAUSAL_LM" {
			return fmt.Errorf("config.json: %s has no language model's head, as the task CAUSAL_LM needs", c.Architecture)
		}
		c.Task = t.Type
	}
	c.seed = t.Seed
	if c.Task != "SEQ_CLS" {
		if t.NumLabels != 0 {
			return fmt.Errorf("num_labels is for the task SEQ_CLS, not for %s", c.Task)
		}
		return nil
	}
	var labels map[string]string
	if _, err := c.read("id2label", &labels); err != nil {
		return err
	}
	c.NumLabels = len(labels)
	if c.NumLabels == 0 {
		if err := c.fields(field{"num_labels", &c.NumLabels, false}); err != nil {
			return err
		}
	}
	if found == "SEQ_CLS" && c.NumLabels == 0 {
		c.NumLabels = 2 // transformers'
	}
	switch {
	case t.NumLabels > 0 && found == "SEQ_CLS" && t.NumLabels != c.NumLabels:
		return fmt.Errorf("num_labels is %d, but the model has a head of %d classes", t.NumLabels, c.NumLabels)
	case t.NumLabels > 0:
		c.NumLabels = t.NumLabels
	}
	if c.NumLabels < 1 { // 1 is a reward's
		return fmt.Errorf("a classification head needs num_labels, the number of classes, at least 1; it is %d", c.NumLabels)
	}
	return c.only("problem_type", "single_label_classification")
}

// Outputs is the number of logits: the vocabulary, or the classes.
func (c *Config) Outputs() int {
	if c.Task == "SEQ_CLS" {
		return c.NumLabels
	}
	return c.Vocab
}

// classification is config.json of the model with its classification head.
func (c *Config) classification(fam *family, config map[string]json.RawMessage) error {
	id, label := map[string]string{}, map[string]int{}
	var had map[string]string
	if _, err := c.read("id2label", &had); err != nil {
		return err
	}
	for i, name := range c.labels {
		if i == 0 {
			had = map[string]string{}
		}
		had[strconv.Itoa(i)] = name
	}
	for i := range c.NumLabels {
		name := "LABEL_" + strconv.Itoa(i)
		if len(had) == c.NumLabels && had[strconv.Itoa(i)] != "" {
			name = had[strconv.Itoa(i)]
		}
		id[strconv.Itoa(i)], label[name] = name, i
	}
	fields := map[string]any{"architectures": []string{classifier(fam)}, "id2label": id, "label2id": label}
	if c.NumLabels > 1 { // one score is a reward, and no class
		fields["problem_type"] = "single_label_classification"
	}
	for k, v := range fields {
		raw, err := json.Marshal(v)
		if err != nil {
			return err
		}
		config[k] = raw
	}
	return nil
}

// NameClasses gives the classes their names, by number, which config.json has as id2label.
func (m *Model) NameClasses(names []string) error {
	if len(names) != m.Config.NumLabels {
		return fmt.Errorf("%d names for %d classes", len(names), m.Config.NumLabels)
	}
	m.Config.labels = slices.Clone(names)
	return nil
}

// ClassifierConfig is config.json of the model with its classification head: transformers opens the base model by it, with the classes'
// names and number.
func (m *Model) ClassifierConfig() ([]byte, error) {
	config := maps.Clone(m.Config.raw)
	if err := m.Config.classification(m.family, config); err != nil {
		return nil, err
	}
	raw, err := json.MarshalIndent(config, "", "  ")
	return append(raw, '\n'), err
}

// lmHeadTensors are names of a language model's head, which a classifier's folder does not have.
var lmHeadTensors = []string{"lm_head.weight", "lm_head.bias", "embed_out.weight"}

func isLMHead(name string) bool { return slices.Contains(lmHeadTensors, name) }
