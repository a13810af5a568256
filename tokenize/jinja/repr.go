package jinja

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// str is Python's str().
func (r *run) str(v any) (string, error) {
	switch x := v.(type) {
	case string:
		return x, nil
	case undefined:
		return "", nil
	}
	return r.repr(v)
}

// repr is Python's repr().
func (r *run) repr(v any) (string, error) {
	w := &writer{r: r}
	w.repr(v, 0)
	return w.text()
}

func (w *writer) repr(v any, depth int) {
	if depth > maxNest && w.err == nil {
		w.err = errNest
	}
	if w.err == nil {
		w.err = w.r.step()
	}
	if w.err != nil {
		return
	}
	switch x := v.(type) {
	case nil:
		w.add("None")
	case bool:
		if x {
			w.add("True")
		} else {
			w.add("False")
		}
	case int64:
		w.add(strconv.FormatInt(x, 10))
	case float64:
		w.add(floatRepr(x))
	case string:
		if w.err = w.r.read(len(x)); w.err == nil {
			stringRepr(w, x)
		}
	case tupleKey:
		w.add(string(x))
	case *List:
		open, end := "[", "]"
		if x.Tuple {
			open, end = "(", ")"
			if len(x.Items) == 1 {
				end = ",)"
			}
		}
		w.add(open)
		for i, e := range x.Items {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(", ")
			}
			w.repr(e, depth+1)
		}
		w.add(end)
	case *Dict:
		w.add("{")
		for i, k := range x.keys {
			if w.err != nil {
				return
			}
			if i > 0 {
				w.add(", ")
			}
			w.repr(k, depth+1)
			w.add(": ")
			w.repr(x.m[k], depth+1)
		}
		w.add("}")
	case undefined:
		w.add("Undefined")
	case *namespace:
		w.add("<Namespace ")
		if w.err == nil {
			w.err = w.r.touch(len(w.open))
		}
		if slices.Contains(w.open, x) {
			w.add("{...}")
		} else {
			w.open = append(w.open, x)
			w.repr(x.d, depth+1)
			w.open = w.open[:len(w.open)-1]
		}
		w.add(">")
	case *loop:
		w.add(fmt.Sprintf("<LoopContext %d/%d>", x.i+1, len(x.items)))
	case *function:
		w.add("<function " + x.name + ">")
	default:
		w.add(fmt.Sprint(v))
	}
}

// brief is a value in a message.
func brief(v any) string {
	switch x := v.(type) {
	case string:
		if len(x) > 60 {
			x = strings.ToValidUTF8(x[:60], "") + "…"
		}
		w := &writer{r: unlimited()}
		stringRepr(w, x)
		return w.sb.String()
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return floatRepr(x)
	case nil:
		return "None"
	}
	return typeName(v)
}
