package serve

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"

	"github.com/adaptflow/adaptflow/internal/storage"
	"github.com/adaptflow/adaptflow/tokenize"
)

// tokenizeRequest is the body of /tokenize: a prompt, or messages.
type tokenizeRequest struct {
	Model         *string         `json:"model"`
	Prompt        *string         `json:"prompt"`
	Messages      []message       `json:"messages"`
	Tools         []tool          `json:"tools"`
	Special       *bool           `json:"add_special_tokens"`
	Strings       *bool           `json:"return_token_strs"`
	AddPrompt     *bool           `json:"add_generation_prompt"`
	ContinueFinal *bool           `json:"continue_final_message"`
	Kwargs        json.RawMessage `json:"chat_template_kwargs"`
}

// tokenize answers /tokenize.
func (s *Server) tokenize(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q tokenizeRequest
	if e := s.read(w, r, &q); e != nil {
		return e
	}
	if (q.Prompt == nil) == (len(q.Messages) == 0) {
		return bad("prompt", "you must provide a prompt or messages")
	}
	v, e := s.voice(k, q.Model)
	if e != nil {
		return e
	}
	ids := []int32{}
	if q.Prompt != nil {
		var err error
		if q.Special == nil || *q.Special {
			ids, err = v.Frame.Prompt(*q.Prompt)
		} else {
			ids, err = v.Tokenizer.AppendIDs(ids, *q.Prompt, false)
		}
		if err != nil {
			return bad("prompt", "%v", err)
		}
	} else {
		name := v.Name
		c := chatRequest{Settings: settings{Model: &name}, Messages: q.Messages, Tools: q.Tools, Kwargs: q.Kwargs, AddPrompt: q.AddPrompt,
			ContinueFinal: q.ContinueFinal}
		if e := c.check(); e != nil {
			return e
		}
		if ids, e = c.rendered(v); e != nil {
			return e
		}
	}
	var names []string
	if is(q.Strings) {
		names = []string{}
		for _, id := range ids {
			t, _ := v.Tokenizer.IDToToken(id)
			names = append(names, t)
		}
	}
	if ids == nil {
		ids = []int32{}
	}
	reply(w, struct {
		Count   int      `json:"count"`
		Context int      `json:"max_model_len"`
		Tokens  []int32  `json:"tokens"`
		Strings []string `json:"token_strs"`
	}{len(ids), v.Context, ids, names})
	return nil
}

// detokenize answers /detokenize.
func (s *Server) detokenize(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q struct {
		Model  *string         `json:"model"`
		Tokens json.RawMessage `json:"tokens"`
	}
	if e := s.read(w, r, &q); e != nil {
		return e
	}
	if len(q.Tokens) == 0 || q.Tokens[0] != '[' {
		return bad("tokens", "you must provide tokens, a list of token ids")
	}
	ids, err := tokens(q.Tokens)
	if err != nil {
		return bad("tokens", "%v", err)
	}
	v, e := s.voice(k, q.Model)
	if e != nil {
		return e
	}
	if len(ids) > 0 {
		if e := checkIDs(v, "tokens", ids); e != nil {
			return e
		}
	}
	reply(w, map[string]string{"prompt": v.Tokenizer.Decode(ids, false)})
	return nil
}

// tokenizerInfo answers /tokenizer_info: the tokenizer's configuration, its special tokens and the chat template.
func (s *Server) tokenizerInfo(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var name *string
	if m := r.URL.Query().Get("model"); m != "" {
		name = &m
	}
	v, e := s.voice(k, name)
	if e != nil {
		return e
	}
	info := map[string]any{}
	if raw, err := storage.ReadSmall(filepath.Join(v.Dir, "tokenizer_config.json"), storage.KindConfig); err == nil {
		_ = json.Unmarshal(raw, &info)
	}
	if special, err := tokenize.SpecialTokens(os.DirFS(v.Dir), "."); err == nil {
		for name, token := range special {
			info[name] = token
		}
	}
	for _, name := range []string{"bos_token", "eos_token", "pad_token", "tokenizer_class", "chat_template"} {
		if info[name] == nil {
			info[name] = nil // null, as clients ask for it
		}
	}
	if t, err := v.Chat.Pick("", false); err == nil {
		info["chat_template"] = t.Source
	}
	info["max_model_len"] = v.Context
	reply(w, info)
	return nil
}
