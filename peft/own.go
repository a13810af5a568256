package peft

import "github.com/adaptflow/adaptflow/nn"

// Tuner is what a method of another package embeds that adapts chosen linear layers: with it the method has all of [Method] but Config and
// Attach. What the configuration says of modules (TargetFields, ExcludeFields, LayerFields, BiasFields, modules_to_save) is done here, as
// HF PEFT does it; without target_modules they are LoRA's of the model's family. The method is not Segmentable:
// an adapter of it has a step for itself.
type Tuner struct{ tuner }

// Layer is a linear layer that a method adapts: y = W·x + b, with W [Out, In].
type Layer struct {
	Name    string // the full module name
	In, Out int
	target  *target
}

// Wire adds a method to a program at a layer, whose input is s.In[0] [T, In] and whose output so far is s.Out [T, Out], and returns the new
// output. p are the layer's parameters, in the order of its [Layer.Param]. Only the forward pass is written, of ops of nn or the method's
// own.
type Wire func(b *nn.Builder, s nn.Site, p []nn.Ref) nn.Ref

// Tune is the Attach of a method: it finds the layers that the configuration names, which cfg points to, and asks for the parameters and
// the Wire of each.
func (u *Tuner) Tune(method string, cfg any, sites []nn.Site, env Env, at func(l *Layer) (Wire, error)) error {
	u.method, u.oneSlot = method, true
	return u.attach(cfg, sites, env, func(t *target) error {
		w, err := at(&Layer{Name: t.name, In: t.in, Out: t.out, target: t})
		t.form = w
		return err
	})
}

// Param gives the layer a trainable parameter under the name that torch would give it, in the adapter's folder too, such as
// "lora_A.weight". init fills in its starting values; nil leaves zeros. Of a shape of more than two dimensions a program has the first as
// rows; a vector is one row.
func (l *Layer) Param(tensor string, init func(dst []float32), shape ...int) *Param {
	if init == nil {
		init = zeros
	}
	return l.target.param(tensor, init, shape...)
}

// Uniform starts a parameter of the layer as torch's nn.Linear starts a weight with that many inputs: kaiming uniform with a = √5. The
// values depend on the seed, the layer and the parameter's name alone.
func (l *Layer) Uniform(tensor string, seed uint64, fanIn int) func(dst []float32) {
	return uniform(seed, l.target.key(tensor), fanIn)
}

func (w Wire) wire(b *nn.Builder, s nn.Site, t *target) nn.Ref { return w(b, s, t.refs(b)) }
