package infer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
	"github.com/adaptflow/adaptflow/peft"
	"github.com/adaptflow/adaptflow/train"
)

// Generate continues the texts. A continuation ends at max_new_tokens, at a token that ends a text, or where the model has no more
// positions.
func (x *Many) Generate(ctx context.Context, qs []Question, s evaluate.Sampling) ([]Continuation, []*Refusal, error) {
	out := make([]Continuation, len(qs))
	refused, err := x.each(ctx, qs, kind{ids: prompted, room: 1, takes: noClassifier}, func(p *asked) error {
		longest := 0
		for _, ids := range p.ids {
			longest = max(longest, len(ids))
		}
		g, err := p.m.generator(longest+s.MaxNewTokens, len(p.ids), continuationCache)
		if err != nil {
			return err
		}
		defer g.Close()
		g.Slots = p.slots
		for _, i := range p.at {
			g.Draws = append(g.Draws, qs[i].Draw)
		}
		got, err := g.GenerateAll(p.ids, s, p.stop, func(int, int32, bool) (bool, error) { return true, ctx.Err() })
		if err != nil {
			return err
		}
		for k, ids := range got {
			tk, _, err := p.of[k].model.Text()
			if err != nil {
				return err
			}
			out[p.at[k]] = Continuation{Text: tk.Decode(ids, true), IDs: ids, Empty: whyEmpty(tk, p.stop, ids)}
		}
		return nil
	})
	return out, refused, err
}

// Score gives the log-probabilities of the texts' tokens, as [Model.Score].
func (x *Many) Score(ctx context.Context, qs []Question) ([]Scored, []*Refusal, error) {
	out := make([]Scored, len(qs))
	refused, err := x.each(ctx, qs, kind{ids: prompted, takes: noClassifier}, func(p *asked) error {
		next := func(q *datasets.Sequence) { q.Labels = append([]int32{datasets.NoLoss}, q.InputIDs[1:]...) }
		return p.passes(nn.ModeScore, p.m.Adapters, next, train.StepFrom, func(rows []int, scores []float32) {
			for _, k := range rows {
				n := len(p.ids[k]) - 1
				out[p.at[k]] = Scored{p.ids[k], append([]float32{}, scores[:n]...)}
				scores = scores[n:]
			}
		})
	})
	return out, refused, err
}

// Embed gives a vector of each text, as [Model.Embed].
func (x *Many) Embed(ctx context.Context, how Pooling, qs []Question) ([][]float32, []*Refusal, error) {
	if how != PoolMean && how != PoolLast {
		return nil, nil, fmt.Errorf("pooling is %q; it is %s or %s", how, PoolMean, PoolLast)
	}
	out := make([][]float32, len(qs))
	refused, err := x.each(ctx, qs, kind{ids: prompted}, func(p *asked) error {
		d := p.m.Base.Config.Hidden
		none := func(q *datasets.Sequence) { q.Labels = slices.Repeat([]int32{datasets.NoLoss}, len(q.InputIDs)) }
		return p.passes(nn.ModeLogits, append(slices.Clone(p.m.Adapters), headless{}), none, train.StepFrom,
			func(rows []int, h []float32) {
				n := 0
				for _, k := range rows {
					n += len(p.ids[k])
				}
				h = h[len(h)-n*d:] // virtual tokens stand before the text, which is one then
				for _, k := range rows {
					n := len(p.ids[k]) * d
					out[p.at[k]] = pooled(how, h[:n], d)
					h = h[n:]
				}
			})
	})
	return out, refused, err
}

// Classified is the class of a text.
type Classified struct {
	Class         int
	Name          string    // of the class; its number where it has none
	Probabilities []float64 // by class
}

// Classify gives the class of each text, by the head of its adapter, or of a base model that is a classifier.
func (x *Many) Classify(ctx context.Context, qs []Question) ([]Classified, []*Refusal, error) {
	out := make([]Classified, len(qs))
	takes := func(g *guest) *Refusal {
		if !classifies(g) {
			return &Refusal{RefusedNoClasses, g.called() + " is a language model: it has no head of classes"}
		}
		return nil
	}
	refused, err := x.each(ctx, qs, kind{ids: classed, takes: takes}, func(p *asked) error {
		n := p.m.Base.Config.Outputs()
		names, err := peft.ClassNames(p.of[0].dir)
		if err != nil {
			return err
		}
		last := func(q *datasets.Sequence) {
			q.Labels = slices.Repeat([]int32{datasets.NoLoss}, len(q.InputIDs))
			q.Labels[len(q.Labels)-1] = 0
		}
		return p.passes(nn.ModeLogits, p.m.Adapters, last, train.ClassStepFrom, func(rows []int, logits []float32) {
			for i, k := range rows {
				c := Classified{Probabilities: evaluate.Softmax(logits[i*n : (i+1)*n])}
				for j, v := range c.Probabilities {
					if v > c.Probabilities[c.Class] {
						c.Class = j
					}
				}
				if c.Name = strconv.Itoa(c.Class); c.Class < len(names) {
					c.Name = names[c.Class]
				}
				out[p.at[k]] = c
			}
		})
	})
	return out, refused, err
}

// passes runs the texts through a program, several a pass, but those of an adapter that answers by itself one by one. label fills in the
// labels of a text, and found receives the results of a pass, of the texts in rows.
func (p *asked) passes(mode nn.Mode, adapters []nn.Adapter, label func(*datasets.Sequence),
	step func([]datasets.Sequence) (*nn.Step, error), found func(rows []int, values []float32)) error {
	longest := 1
	for _, ids := range p.ids {
		longest = max(longest, len(ids))
	}
	tokens, texts := max(passTokens, longest), len(p.ids)
	if p.slots == nil && len(p.m.Adapters) > 0 || texts == 1 {
		tokens, texts = longest, 1
	}
	caps := nn.Caps{T: tokens, S: tokens, N: min(texts, tokens)}
	prog, err := nn.Compile(p.m.Base, adapters, p.m.Params, nn.Options{Mode: mode, Caps: caps, Pool: p.m.Pool})
	if err != nil {
		return err
	}
	defer prog.Close()
	for from := 0; from < len(p.ids); {
		var rows []int
		var seqs []datasets.Sequence
		var segments []nn.Segment
		for at := 0; from < len(p.ids) && len(rows) < texts && at+len(p.ids[from]) <= tokens; from++ {
			q := datasets.Sequence{InputIDs: p.ids[from], DocStarts: []int32{0}}
			label(&q)
			if p.slots != nil {
				segments = nn.AddSegment(segments, at, at+len(q.InputIDs), p.slots[from])
			}
			rows, seqs, at = append(rows, from), append(seqs, q), at+len(q.InputIDs)
		}
		s, err := step(seqs)
		if err != nil {
			return err
		}
		if len(s.Rows) == 0 && mode == nn.ModeScore { // texts of one token
			found(rows, nil)
			continue
		}
		s.Segments = segments
		values := prog.Forward(s, false)
		if kernels.NonFinite(values) >= 0 {
			return errors.New("the model's answers are not finite: " + fmt.Sprint(prog.Why(s, false)))
		}
		found(rows, values)
	}
	return nil
}
