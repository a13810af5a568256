package recipe

import (
	"errors"
	"fmt"
	"math"
	"strconv"
)

// exact is the largest number below which the YAML library's floating-point numbers are all whole ones that they were written as.
const exact = 1 << 53

// whole refuses a number with a fraction, or one too large to be exact, where a whole one is wanted: the YAML library would cut it. It
// gives numbers beyond 64 bits, and those in quotation marks, as text.
func whole(path, kind string, v any) error {
	if kind != "integer" {
		return nil
	}
	x, ok := v.(float64)
	if s, text := v.(string); text {
		_, signed := strconv.ParseInt(s, 0, 64)
		_, unsigned := strconv.ParseUint(s, 0, 64)
		if signed == nil || unsigned == nil {
			return nil
		}
		var err error
		x, err = strconv.ParseFloat(s, 64)
		ok = err == nil || errors.Is(err, strconv.ErrRange)
	}
	if !ok || x == math.Trunc(x) && math.Abs(x) <= exact {
		return nil
	}
	return fmt.Errorf("%s is %v; it must be a whole number of at most 64 bits", path, v)
}
