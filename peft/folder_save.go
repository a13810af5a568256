package peft

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/adaptflow/adaptflow/internal/adapterfile"
	"github.com/adaptflow/adaptflow/internal/safetensors"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/kernels"
	"github.com/adaptflow/adaptflow/nn"
)

// tensor is z as it is saved.
func (z *Frozen) tensor() safetensors.Tensor {
	v := z.Values()
	if !z.Int {
		return safetensors.F32(z.Key, v, z.Shape...)
	}
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(x)))
	}
	return safetensors.Tensor{Name: z.Key, DType: "I32", Shape: z.Shape, Raw: raw}
}

// ConfigJSON is the adapter_config.json that Save writes.
func (a *Adapter) ConfigJSON() []byte { return a.configJSON(a.Config(), commonOf(a.Method)) }

// configJSON is the text of a configuration whose common fields are c.
func (a *Adapter) configJSON(config any, c *Common) []byte {
	saved := *c
	defer func() { *c = saved }()
	c.InferenceMode, c.PeftVersion = true, peftVersion
	if a.env.BaseModel != "" {
		c.BaseModel = &a.env.BaseModel
	}
	if a.env.Revision != "" {
		c.Revision = &a.env.Revision
	}
	if c.TaskType == nil {
		t := "CAUSAL_LM"
		c.TaskType = &t
	}
	if f, ok := a.Method.(formatted); ok {
		return f.encoded()
	}
	return encodeConfig(config, unusedOf(a.Method))
}

// Save writes one slot of params as an adapter folder that HF PEFT loads: adapter_config.json, adapter_model.safetensors the model card
// README.md, and of a classifier the base's config.json with the classes (see [Card]). On a local disk the folder appears whole: it is
// written beside dir and renamed, and a folder that was there is replaced when it is an adapter folder, refused otherwise. On an object
// store the configuration is written last. The bytes depend on the configuration, the values and the card alone.
//
// An adapter whose folder could not be opened again (init_lora_weights "pissa_niter_N") is written as SaveConverted does.
func (a *Adapter) Save(dir string, params *nn.Params, slot int, card Card) error {
	if r, ok := a.Method.(interface{ reopen() error }); ok && r.reopen() != nil {
		return a.SaveConverted(dir, params, slot, card)
	}
	ts, err := a.tensors(params, slot)
	if err != nil {
		return fmt.Errorf("%w; nothing was written to %s", err, dir)
	}
	return a.save(dir, ts, a.ConfigJSON(), card)
}

// tensors are those of one slot, as the folder has them.
func (a *Adapter) tensors(params *nn.Params, slot int) ([]safetensors.Tensor, error) {
	var ts []safetensors.Tensor
	store, _ := a.Method.(storer)
	if store != nil {
		store.saving(slot)
	}
	for _, p := range a.Params() {
		v, err := a.values(params, p, slot)
		if err != nil {
			return nil, err
		}
		if store != nil {
			if own := store.stored(p, v, slot); own != nil {
				ts = append(ts, own...)
				continue
			}
		}
		if i := kernels.NonFinite(v); i >= 0 {
			return nil, fmt.Errorf("peft: parameter %s has the value %g at %d; the training has diverged", p.Name, v[i], i)
		}
		if p.Key != "" {
			for _, key := range append([]string{p.Key}, p.Also...) {
				ts = append(ts, safetensors.F32(key, v, p.Shape...))
			}
		}
	}
	if e, ok := a.Method.(Encoder); ok {
		for _, z := range e.Encode(func(name string) []float32 { return params.Get(name).Slot(slot) }) {
			ts = append(ts, safetensors.F32(z.Key, z.Values(), z.Shape...))
		}
	}
	for _, z := range a.Frozen() {
		ts = append(ts, z.tensor())
	}
	prompts := slices.ContainsFunc(ts, func(t safetensors.Tensor) bool { return t.Name == adapterfile.PromptTensor })
	for _, z := range a.keeps() {
		t := z.tensor()
		t.Name = adapterfile.InFile(t.Name, prompts)
		ts = append(ts, t)
	}
	return ts, nil
}

// save writes a folder.
func (a *Adapter) save(dir string, ts []safetensors.Tensor, config []byte, card Card) error {
	write := func(to string) error {
		if err := storage.MkdirShared(to); err != nil {
			return err
		}
		if err := safetensors.WriteShared(storage.Join(to, tensorFile(a.Method)), ts, map[string]string{"format": "pt"}); err != nil {
			return err
		}
		if err := storage.WriteShared(storage.Join(to, CardFile), []byte(card.render(a))); err != nil {
			return err
		}
		if from := a.env.Embeddings; from != "" {
			if err := adapterfile.CopyTokenizer(to, from); err != nil {
				return err
			}
		}
		if card.ModelConfig != nil {
			if err := storage.WriteShared(storage.Join(to, modelFile), card.ModelConfig); err != nil {
				return err
			}
		}
		return storage.WriteShared(storage.Join(to, ConfigFile), config)
	}
	if !storage.IsLocal(dir) {
		if err := write(dir); err != nil {
			return fmt.Errorf("peft: saving the adapter: %w", err)
		}
		return nil
	}
	if err := replaceDir(filepath.Clean(storage.Local(dir)), write); err != nil {
		return fmt.Errorf("peft: saving the adapter: %w", err)
	}
	return nil
}
