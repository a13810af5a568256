package serve

import (
	"context"
	"net/http"
	"strconv"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/peft"
)

// Scorer is an engine whose adapters may have heads of classes, or of one number, as a reward has it.
type Scorer interface {
	// Scores gives what the head of a voice says of each text: a value for each class, before softmax, and the classes' names, if they
	// have any. A [*Refused] says that the voice has no head.
	Scores(ctx context.Context, v *Voice, texts [][]int32) (values [][]float32, names []string, err error)
}

// headed is the adapter with a head that was asked last: it stands over a base of its own.
type headed struct {
	turn  chan struct{} // holds one, which is whose turn it is
	key   string
	model *infer.Model
	names []string
}

// Scores implements Scorer. One request is answered at a time, beside the sequences.
func (e *Live) Scores(ctx context.Context, v *Voice, texts [][]int32) ([][]float32, []string, error) {
	for _, t := range texts {
		if len(t) == 0 || len(t) > v.Context {
			return nil, nil, refuse("a text has %d tokens; it must have 1 to %d", len(t), v.Context)
		}
	}
	h := &e.head
	if e.scoring.Add(1) > int64(e.o.Queue) {
		e.scoring.Add(-1)
		return nil, nil, ErrFull
	}
	defer e.scoring.Add(-1)
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	defer func() { <-h.turn }()
	e.mu.Lock()
	closing := e.closing
	e.mu.Unlock()
	if closing {
		return nil, nil, ErrClosed
	}
	if err := e.openHead(v); err != nil {
		return nil, nil, err
	}
	values, err := h.model.Heads(texts...)
	return values, h.names, err
}

// openHead has the voice's adapter stand over a base with its head.
func (e *Live) openHead(v *Voice) error {
	h := &e.head
	if key := v.edition.key(); h.model == nil || h.key != key {
		none := refuse("the model %q has no head that scores texts", v.Name)
		if v.edition.folder == "" {
			return none
		}
		_, classes, err := peft.TaskOf(v.edition.folder)
		if err != nil {
			e.o.Log.Error("an adapter does not load", "adapter", v.Name, "error", err)
			return refuse("the adapter %q cannot be read", v.Name)
		}
		if classes == 0 {
			return none
		}
		if limit := e.o.MemoryLimit; limit > 0 && e.plan.Total()+e.plan.Base > limit {
			return refuse("the adapter %q needs a base of its own, for its head, and the memory limit has no room for one", v.Name)
		}
		h.close()
		if h.model, err = infer.Load(e.o.Model, e.o.DType, v.edition.folder); err == nil {
			h.names, err = peft.ClassNames(v.edition.folder)
		}
		if err != nil {
			h.close()
			e.o.Log.Error("an adapter does not load", "adapter", v.Name, "error", err)
			return refuse("the adapter %q cannot be used with this base model", v.Name)
		}
		h.key = key
	}
	return nil
}

func (h *headed) close() {
	if h.model != nil {
		_ = h.model.Close()
	}
	h.model, h.key, h.names = nil, "", nil
}

// scoreRequest is the body of /v1/score: texts, each scored by itself; or, as vLLM has it, what answers text_1 in text_2.
type scoreRequest struct {
	Model *string `json:"model"`
	Input prompts `json:"input"`
	One   *string `json:"text_1"`
	Two   texts   `json:"text_2"`
}

type score struct {
	Object string    `json:"object"`
	Index  int       `json:"index"`
	Score  float64   `json:"score"` // of a head of one number that number, else the probability of the likeliest class
	Label  *string   `json:"label"`
	Probs  []float64 `json:"probs"`
}

// scores answers /v1/score.
func (s *Server) scores(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q scoreRequest
	if e := s.read(w, r, &q); e != nil {
		return e
	}
	for _, t := range q.Two {
		q.Input.texts = append(q.Input.texts, is(q.One)+t)
	}
	switch {
	case is(q.Model) == "":
		return bad("model", "you must provide a model parameter")
	case (q.One == nil) != (len(q.Two) == 0):
		return bad("text_2", "text_1 and text_2 go together")
	case q.Input.len() == 0:
		return bad("input", "you must provide an input")
	case q.Input.len() > mostPrompts:
		return bad("input", "there are %d inputs; %d are the most", q.Input.len(), mostPrompts)
	}
	v, e := s.voice(k, q.Model)
	if e != nil {
		return e
	}
	list := q.Input.ids
	for _, text := range q.Input.texts {
		enc, err := v.Frame.Class(text)
		if err != nil {
			return bad("input", "%v", err)
		}
		list = append(list, enc.IDs)
	}
	tokens := 0
	for _, ids := range list {
		if e := checkIDs(v, "input", ids); e != nil {
			return e
		}
		if tokens += len(ids); len(ids) > v.Context {
			return tooLong("This model's maximum context length is %d tokens, and an input has %d.", v.Context, len(ids))
		}
	}
	to, ok := s.engine.(Scorer)
	if !ok {
		return bad("model", "the model %q has no head that scores texts", v.Name)
	}
	values, names, err := to.Scores(r.Context(), v, list)
	if err != nil {
		return errorOf(err)
	}
	data := make([]score, len(values))
	for i, x := range values {
		data[i] = scoreOf(x, names)
		data[i].Index = i
	}
	reply(w, map[string]any{"id": newID("score-"), "object": "list", "created": now(), "model": *q.Model, "data": data,
		"usage": map[string]int{"prompt_tokens": tokens, "total_tokens": tokens}})
	return nil
}

// scoreOf is what a head's values say.
func scoreOf(x []float32, names []string) score {
	if len(x) == 1 {
		return score{Object: "score", Score: float64(x[0])}
	}
	best := 0
	for k, v := range x {
		if v > x[best] {
			best = k
		}
	}
	p := evaluate.Softmax(x)
	label := strconv.Itoa(best)
	if best < len(names) {
		label = names[best]
	}
	return score{Object: "score", Score: p[best], Label: &label, Probs: p}
}
