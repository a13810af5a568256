package peft

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/adaptflow/adaptflow/nn"
)

// InitWeights is init_lora_weights: true, false or the name of an initialisation.
type InitWeights struct {
	On   bool
	Name string
}

// MarshalJSON writes a boolean or a string.
func (i InitWeights) MarshalJSON() ([]byte, error) {
	if i.Name != "" {
		return json.Marshal(i.Name)
	}
	return json.Marshal(i.On)
}

// UnmarshalJSON reads true, false or a name of the table loraInits.
func (i *InitWeights) UnmarshalJSON(b []byte) error {
	*i = InitWeights{}
	if json.Unmarshal(b, &i.On) == nil && string(b) != "null" {
		return nil
	}
	if json.Unmarshal(b, &i.Name) != nil || i.Name == "" {
		return fmt.Errorf("want true, false or one of %s", strings.Join(loraInitNames(), ", "))
	}
	_, err := loraInitOf(*i)
	return err
}

// loraInit is a way of starting the pairs of linear layers and of the head. Embeddings start as ever: A zero, B normal.
type loraInit struct {
	name string // of init_lora_weights, in any case; one that ends in _ is followed by a number
	doc  string
	// start sets how p's parameters start, for the module s.
	start func(l *lora, p *pair, s nn.Site) error
}

// loraInits is the table of initialisations. A new one is a row here.
var loraInits = []loraInit{
	{"gaussian", "A normal with deviation 1/r, B zero", startGaussian},
	{"orthogonal", "A and B of orthogonal rows and columns, the base unchanged", startOrthogonal},
	{"pissa", "the principal singular values and vectors, which the base loses (Meng et al. 2024, arXiv:2404.02948)", startPissa},
	{"pissa_niter_", "the same by a randomised SVD with so many subspace iterations (Halko et al. 2011)", startPissa},
	{"olora", "the first columns of the base's QR decomposition, which the base loses (Büyükakyüz 2024, arXiv:2406.01775)", startOlora},
	{"loftq", "the base quantised to NF4, the pair what that misses (Li et al. 2023, arXiv:2310.08659)", startLoftq},
	{"eva", "A the principal directions of the activations (Paischer et al. 2024, arXiv:2410.07170); see InitializeEVA", startEva},
}

func loraInitNames() []string {
	var names []string
	for _, i := range loraInits {
		n := i.name
		if strings.HasSuffix(n, "_") {
			n += "N"
		}
		names = append(names, strconv.Quote(n))
	}
	return names
}

// loraInitOf finds the row of a value, nil for true and false.
func loraInitOf(w InitWeights) (*loraInit, error) {
	if w.Name == "" {
		return nil, nil
	}
	name := strings.ToLower(w.Name)
	for k := range loraInits {
		i := &loraInits[k]
		if name == i.name {
			return i, nil
		}
		if n, ok := strings.CutPrefix(name, i.name); ok && strings.HasSuffix(i.name, "_") {
			if v, err := strconv.Atoi(n); err == nil && v >= 0 {
				return i, nil
			}
		}
	}
	return nil, fmt.Errorf("adaptflow has true, false, %s", strings.Join(loraInitNames(), ", "))
}

// start sets how the pair of a target starts.
func (l *lora) start(p *pair, s nn.Site, env Env) error {
	c := &l.cfg
	if s.Kind == nn.KindEmbedding {
		if l.init != nil && l.init.name == "loftq" {
			return fmt.Errorf("peft: LORA: init_lora_weights \"loftq\" is for linear layers, but the target %s is an embedding", s.Name)
		}
		p.a.Init, p.b.Init = zeros, normal(env.Seed, p.b.Name, 1)
		if !c.InitLoraWeights.On && c.InitLoraWeights.Name == "" {
			p.a.Init = normal(env.Seed, p.a.Name, 1)
		}
		return nil
	}
	p.a.Init, p.b.Init = uniform(env.Seed, p.a.Name, p.a.Cols), zeros
	if l.init != nil {
		return l.init.start(l, p, s)
	}
	if !c.InitLoraWeights.On {
		p.b.Init = uniform(env.Seed, p.b.Name, p.r)
	}
	return nil
}

func startGaussian(l *lora, p *pair, _ nn.Site) error {
	p.a.Init = normal(l.seed, p.a.Name, 1/float64(p.r))
	return nil
}
