package serve

import (
	"os"
	"slices"
	"sync"

	"github.com/adaptflow/adaptflow/evaluate"
	"github.com/adaptflow/adaptflow/infer"
	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize"
	"github.com/adaptflow/adaptflow/tokenize/chat"
)

// voices opens the side of texts of the base and of adapters. Those whose tokenizer is the base's share it.
type voices struct {
	o       *Options
	self    *infer.Model
	base    *Voice
	context int
	given   chat.Set // in place of the models' own

	mu   sync.Mutex
	held map[string]*Voice // by the adapter's folder, the last that were used
	used []string
}

// mostVoices is how many adapters' texts are held.
const mostVoices = 4096

func newVoices(o *Options, self *infer.Model) (v *voices, err error) {
	v = &voices{o: o, self: self, held: map[string]*Voice{}}
	if o.Template != "" {
		source, err := storage.ReadSmall(o.Template, storage.KindTemplate)
		if err != nil {
			return nil, err
		}
		special, err := tokenize.SpecialTokens(os.DirFS(self.Dir), ".")
		if err != nil {
			return nil, err
		}
		t, err := chat.NewNamed(o.Template, string(source), special)
		if err != nil {
			return nil, err
		}
		v.given = chat.Set{"default": t}
	}
	if v.base, err = v.make(self.Dir, false); err != nil {
		return nil, err
	}
	v.base.Name = o.Name
	return v, nil
}

// make opens the texts of a folder with a tokenizer.
func (v *voices) make(dir string, adapter bool) (out *Voice, err error) {
	c := v.self.Base.Config
	out = &Voice{Dir: dir, BOS: c.BOS, Vocab: c.Vocab, End: slices.Clone(c.EOS), Chat: v.given}
	if out.Tokenizer, err = tokenize.Load(dir); err != nil {
		return nil, err
	}
	if out.Frame, err = v.o.Ends.Frame(out.Tokenizer); err != nil {
		return nil, err
	}
	if out.Chat == nil {
		if out.Chat, err = chat.Load(dir); err != nil {
			return nil, err
		}
	}
	if adapter {
		out.ends()
	}
	out.Defaults, err = evaluate.ReadGenerationConfig(v.self.Dir)
	return out, err
}

// ends adds the tokens by which an adapter has learnt to end.
func (v *Voice) ends() {
	v.End = slices.Clone(v.End)
	for _, id := range v.Frame.Stop() {
		if !slices.Contains(v.End, id) {
			v.End = append(v.End, id)
		}
	}
}

// open finds a voice by its name.
func (v *voices) open(name string) (*Voice, error) {
	if name == v.o.Name {
		out := *v.base
		out.Context = v.context
		return &out, nil
	}
	ed, err := v.o.Adapters.find(name)
	if err != nil {
		v.o.Log.Error("an adapter's folder cannot be read", "adapter", name, "error", err)
		return nil, refuse("the adapter %q cannot be read", name)
	}
	if ed.folder == "" {
		return nil, ErrUnknown
	}
	text, err := v.text(ed.folder)
	if err != nil {
		v.o.Log.Error("an adapter's tokenizer cannot be read", "adapter", name, "error", err)
		return nil, refuse("the tokenizer of the adapter %q cannot be read", name)
	}
	out := *text
	out.Name, out.edition, out.Context = name, ed, v.context
	return &out, nil
}

// text is what is held of an adapter's folder.
func (v *voices) text(folder string) (*Voice, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if t := v.held[folder]; t != nil {
		return t, nil
	}
	var t *Voice
	if dir := infer.TokenizerOf(v.self.Dir, folder); dir == v.self.Dir {
		c := *v.base
		c.ends()
		t = &c
	} else {
		var err error
		if t, err = v.make(dir, true); err != nil {
			return nil, err
		}
	}
	if len(v.used) == mostVoices {
		delete(v.held, v.used[0])
		v.used = v.used[1:]
	}
	v.held[folder], v.used = t, append(v.used, folder)
	return t, nil
}
