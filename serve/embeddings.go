package serve

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"

	"github.com/adaptflow/adaptflow/infer"
)

// embeddingRequest is the body of /v1/embeddings.
type embeddingRequest struct {
	Model      *string `json:"model"`
	Input      prompts `json:"input"`
	Format     *string `json:"encoding_format"`
	Dimensions *int    `json:"dimensions"`
	Pooling    *string `json:"pooling"`   // mean or lasttoken; the server's by default
	Normalize  *bool   `json:"normalize"` // to a length of 1
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	Vector any    `json:"embedding"` // numbers, or base64 of float32 in little endian
}

// embeddings answers /v1/embeddings: hidden states, pooled.
func (s *Server) embeddings(w http.ResponseWriter, r *http.Request, k *key) *Error {
	var q embeddingRequest
	if e := s.read(w, r, &q); e != nil {
		return e
	}
	format, how := is(q.Format), s.Pooling
	if p := infer.Pooling(is(q.Pooling)); p != "" {
		how = p
	}
	if how == "" {
		how = infer.PoolMean
	}
	switch {
	case is(q.Model) == "":
		return bad("model", "you must provide a model parameter")
	case q.Input.len() == 0:
		return bad("input", "you must provide an input")
	case q.Input.len() > mostPrompts:
		return bad("input", "there are %d inputs; %d are the most", q.Input.len(), mostPrompts)
	case format != "" && format != "float" && format != "base64":
		return bad("encoding_format", "encoding_format is %q; it must be float or base64", format)
	case how != infer.PoolMean && how != infer.PoolLast:
		return bad("pooling", "pooling is %q; it must be %s or %s", how, infer.PoolMean, infer.PoolLast)
	}
	v, e := s.voice(k, q.Model)
	if e != nil {
		return e
	}
	ids, e := (&completionRequest{Prompt: q.Input}).ids(v)
	if e != nil {
		e.Param = "input"
		return e
	}
	u := usage{}
	for _, t := range ids {
		if len(t) > v.Context {
			return tooLong("This model's maximum context length is %d tokens, and an input has %d.", v.Context, len(t))
		}
		u.Prompt += len(t)
	}
	vectors, err := s.engine.Embed(r.Context(), v, how, ids)
	if err != nil {
		return errorOf(err)
	}
	data := make([]embedding, len(vectors))
	for i, x := range vectors {
		if q.Dimensions != nil && *q.Dimensions != len(x) {
			return bad("dimensions", "the model's vectors have %d dimensions", len(x))
		}
		if is(q.Normalize) {
			unit(x)
		}
		wide := make([]float64, len(x)) // so that the numbers are those of base64, to the last bit
		for k, f := range x {
			wide[k] = float64(f)
		}
		data[i] = embedding{Object: "embedding", Index: i, Vector: wide}
		if format == "base64" {
			raw := make([]byte, 0, 4*len(x))
			for _, f := range x {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(f))
			}
			data[i].Vector = base64.StdEncoding.EncodeToString(raw)
		}
	}
	reply(w, map[string]any{"object": "list", "data": data, "model": *q.Model,
		"usage": map[string]int{"prompt_tokens": u.Prompt, "total_tokens": u.Prompt}})
	return nil
}

// unit makes the length of a vector 1.
func unit(x []float32) {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return
	}
	for i, v := range x {
		x[i] = float32(float64(v) / math.Sqrt(sum))
	}
}
