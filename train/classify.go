package train

import (
	"fmt"
	"math"

	"github.com/adaptflow/adaptflow/datasets"
	"github.com/adaptflow/adaptflow/internal/pool"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// Classifier scores documents with a head of classes.
type Classifier struct {
	prog    *nn.Program
	cap     int
	classes int
}

// NewClassifier compiles a program for up to tokens tokens at once.
func NewClassifier(w nn.Wiring, adapters []nn.Adapter, params *nn.Params, p *pool.Pool, tokens, classes int) (*Classifier, error) {
	prog, err := nn.Compile(w, adapters, params, nn.Options{Mode: nn.ModeLogits, Pool: p,
		Caps: nn.Caps{T: tokens, S: tokens, N: nn.PromptOf(adapters).Documents(tokens, 1)}})
	if err != nil {
		return nil, err
	}
	return &Classifier{prog, tokens, classes}, nil
}

// Close frees the program.
func (c *Classifier) Close() { c.prog.Close() }

// Classified is what a classifier makes of labelled documents.
type Classified struct {
	Documents int `json:"documents"`
	Right     int `json:"right"`
	// Confusion counts documents by [class][prediction].
	Confusion [][]int `json:"confusion"`
	// Loss is the sum of the negative log-likelihoods of the classes.
	Loss float64 `json:"loss"`
}

// Accuracy is the share of documents whose class is predicted.
func (c *Classified) Accuracy() float64 { return float64(c.Right) / float64(max(c.Documents, 1)) }

// Add adds the counts of other documents, of the same classes.
func (c *Classified) Add(o *Classified) {
	c.Documents, c.Right, c.Loss = c.Documents+o.Documents, c.Right+o.Right, c.Loss+o.Loss
	for k := range c.Confusion {
		for j := range c.Confusion[k] {
			c.Confusion[k][j] += o.Confusion[k][j]
		}
	}
}

// F1 is each class's harmonic mean of precision and recall, 0 for a class that neither occurs nor is predicted.
func (c *Classified) F1() []float64 {
	out := make([]float64, len(c.Confusion))
	for k := range out {
		own, said := 0, 0
		for j := range c.Confusion {
			own += c.Confusion[k][j]
			said += c.Confusion[j][k]
		}
		out[k] = 2 * float64(c.Confusion[k][k]) / float64(max(own+said, 1))
	}
	return out
}

// MacroF1 is the mean over the classes of the harmonic mean of precision and recall, as scikit-learn's f1_score(average="macro") with the
// classes that occur among classes or predictions.
func (c *Classified) MacroF1() float64 {
	sum, n := 0.0, 0
	for k := range c.Confusion {
		own, said := 0, 0
		for j := range c.Confusion {
			own += c.Confusion[k][j]
			said += c.Confusion[j][k]
		}
		if own+said == 0 {
			continue
		}
		n++
		sum += 2 * float64(c.Confusion[k][k]) / float64(own+said)
	}
	return sum / float64(max(n, 1))
}

// Classify predicts the class of every labelled document of the sequences.
func (c *Classifier) Classify(seqs []datasets.Sequence) (*Classified, error) {
	out := &Classified{Confusion: make([][]int, c.classes)}
	for k := range out.Confusion {
		out.Confusion[k] = make([]int, c.classes)
	}
	for len(seqs) > 0 {
		n, used := 0, 0
		for n < len(seqs) && used+len(seqs[n].InputIDs) <= c.cap {
			used += len(seqs[n].InputIDs)
			n++
		}
		if n == 0 {
			return nil, fmt.Errorf("a sequence of %d tokens in a program for %d", len(seqs[0].InputIDs), c.cap)
		}
		step, err := ClassStepFrom(seqs[:n])
		if err != nil {
			return nil, err
		}
		seqs = seqs[n:]
		for _, part := range c.prog.Parts(step) {
			if err := c.add(out, part); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// add runs a step of labelled documents and counts them in out.
func (c *Classifier) add(out *Classified, step *nn.Step) error {
	if len(step.Rows) == 0 {
		return nil
	}
	logits := c.prog.Forward(step, false)
	if kernels.NonFinite(logits) >= 0 {
		return fmt.Errorf("the model's logits are not finite: %s", c.prog.Why(step, false))
	}
	for i, class := range step.Labels {
		if class < 0 || int(class) >= c.classes {
			return fmt.Errorf("a document of class %d, but the model has %d classes", class, c.classes)
		}
		row := logits[i*c.classes : (i+1)*c.classes]
		best := 0
		for k, v := range row {
			if v > row[best] {
				best = k
			}
		}
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(float64(v) - float64(row[best]))
		}
		out.Loss += math.Log(sum) + float64(row[best]) - float64(row[class])
		out.Documents++
		out.Confusion[class][best]++
		if best == int(class) {
			out.Right++
		}
	}
	return nil
}
