package serve

import (
	"encoding/json"
	"errors"
	"slices"
)

// tool is a function that the model may call.
type tool struct {
	Type     string   `json:"type"`
	Function toolSpec `json:"function"`
}

type toolSpec struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parameters  json.RawMessage `json:"parameters,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

// toolChoice is none, auto, required, or the name of a function.
type toolChoice struct{ mode, name string }

// UnmarshalJSON implements json.Unmarshaler.
func (c *toolChoice) UnmarshalJSON(raw []byte) error {
	wrong := errors.New(`it must be "none", "auto", "required", or {"type": "function", "function": {"name": …}}`)
	if raw[0] == '"' {
		if err := json.Unmarshal(raw, &c.mode); err != nil || !slices.Contains([]string{"none", "auto", "required"}, c.mode) {
			return wrong
		}
		return nil
	}
	var named struct {
		Type     string `json:"type"`
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if err := json.Unmarshal(raw, &named); err != nil || named.Type != "function" || named.Function.Name == "" {
		return wrong
	}
	c.mode, c.name = "named", named.Function.Name
	return nil
}

// responseFormat is the form that an answer must have.
type responseFormat struct {
	Type   string `json:"type"`
	Schema *struct {
		Name   string          `json:"name"`
		Schema json.RawMessage `json:"schema"`
		Strict *bool           `json:"strict"`
	} `json:"json_schema"`
}

const mostTools = 128

func (q *chatRequest) checkTools() *Error {
	if len(q.Tools) > mostTools {
		return bad("tools", "there are %d tools; %d are the most", len(q.Tools), mostTools)
	}
	for i, t := range q.Tools {
		if t.Type != "function" || t.Function.Name == "" {
			return bad("tools", "tools[%d] must be of type function and have a function with a name", i)
		}
		if p := t.Function.Parameters; len(p) > 0 && p[0] != '{' && string(p) != "null" {
			return bad("tools", "tools[%d].function.parameters must be a JSON Schema", i)
		}
	}
	if c := q.ToolChoice; c != nil {
		switch {
		case c.mode != "none" && len(q.Tools) == 0:
			return bad("tool_choice", "tool_choice is only allowed when tools are given")
		case c.mode == "named" && !slices.ContainsFunc(q.Tools, func(t tool) bool { return t.Function.Name == c.name }):
			return bad("tool_choice", "tool_choice names %q, which is none of the tools", c.name)
		}
	}
	if f := q.Format; f != nil {
		switch f.Type {
		case "text", "json_object":
		case "json_schema":
			if f.Schema == nil || len(f.Schema.Schema) == 0 || f.Schema.Schema[0] != '{' {
				return bad("response_format", "response_format.json_schema must have a schema, an object")
			}
		default:
			return bad("response_format", "response_format.type is %q; it must be text, json_object or json_schema", f.Type)
		}
	}
	return nil
}

// offered are the tools that a template sees.
func (q *chatRequest) offered() []tool {
	if q.ToolChoice != nil && q.ToolChoice.mode == "none" {
		return nil
	}
	return q.Tools
}
