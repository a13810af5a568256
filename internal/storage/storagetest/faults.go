package storagetest

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Kinds of faults.
const (
	Throttle  = "throttle"  // refused for a while: 503 SlowDown of S3, 429 of Google
	Broken    = "500"       // an error of the server
	Reset     = "reset"     // the connection is reset before anything is done
	Lost      = "lost"      // it is done, and the answer is lost: the connection is reset
	Cut       = "cut"       // half of the answer's body is sent
	Slow      = "slow"      // it waits before it does it
	Expired   = "expired"   // the credentials have run out
	Forbidden = "forbidden" // the credentials lack the right
	Conflict  = "conflict"  // 409 ConditionalRequestConflict, of a conditional write that another one met
)

var faultKinds = []string{Throttle, Broken, Reset, Lost, Cut, Slow, Expired, Forbidden, Conflict}

// Fault is what goes wrong with some of the requests.
type Fault struct {
	Kind       string
	Method     string        // of the requests that are counted; "" is any
	Path       string        // what their path contains
	First      int           // the first of them that fails, from 1; 0 is 1
	Times      int           // how many fail then; 0 is 1, -1 all
	Every      int           // if not 0, of those only each so manieth fails
	RetryAfter time.Duration // what a throttled one answers, in whole seconds
	Delay      time.Duration // of a slow one; it is a second where it is 0
}

// ParseFault reads a fault as a flag has it: "kind=throttle,method=PUT,path=/x,first=3,times=2,every=5,retry-after=1s,delay=1s".
func ParseFault(text string) (f Fault, err error) {
	for _, field := range strings.Split(text, ",") {
		k, v, _ := strings.Cut(field, "=")
		switch k {
		case "kind":
			f.Kind = v
		case "method":
			f.Method = v
		case "path":
			f.Path = v
		case "first":
			f.First, err = strconv.Atoi(v)
		case "times":
			f.Times, err = strconv.Atoi(v)
		case "every":
			f.Every, err = strconv.Atoi(v)
		case "retry-after":
			f.RetryAfter, err = time.ParseDuration(v)
		case "delay":
			f.Delay, err = time.ParseDuration(v)
		default:
			err = fmt.Errorf("no field %q", k)
		}
		if err != nil {
			return f, fmt.Errorf("fault %q: %w", text, err)
		}
	}
	if !slices.Contains(faultKinds, f.Kind) {
		return f, fmt.Errorf("fault %q: the kind is one of %s", text, strings.Join(faultKinds, ", "))
	}
	return f, nil
}

// Faults are the faults of a server, and the log of what it was asked.
type Faults struct {
	mu    sync.Mutex
	rules []*rule
	log   []string
}

type rule struct {
	Fault
	seen int // requests that match
}

// logged is how many requests are remembered.
const logged = 1 << 16

// Add adds a fault.
func (f *Faults) Add(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, &rule{Fault: fault})
}

// Clear takes all faults away and forgets the requests.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules, f.log = nil, nil
}

// Requests is how often the server was asked with the method ("" is any) for a path that contains path, faults included.
func (f *Faults) Requests(method, path string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.log {
		m, p, _ := strings.Cut(l, " ")
		if (method == "" || m == method) && strings.Contains(p, path) {
			n++
		}
	}
	return n
}

// next logs a request and returns its fault.
func (f *Faults) next(r *http.Request) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.log) < logged {
		f.log = append(f.log, r.Method+" "+r.URL.RequestURI())
	}
	var out *Fault
	for _, x := range f.rules {
		if x.Method != "" && x.Method != r.Method || !strings.Contains(r.URL.RequestURI(), x.Path) {
			continue
		}
		x.seen++
		k := x.seen - max(x.First, 1) // 0 of the first that fails
		if k < 0 || x.Every > 1 && k%x.Every != 0 {
			continue
		}
		if n := k / max(x.Every, 1); out == nil && (x.Times < 0 || n < max(x.Times, 1)) {
			out = &x.Fault
		}
	}
	return out
}

// refuse answers a request with a fault that has an answer; each server has its own words.
type refuse func(w http.ResponseWriter, r *http.Request, kind string)

// wrap makes faults of a server's requests. POST /-/faults?fault=TEXT adds one ([ParseFault]), DELETE /-/faults takes all away, and GET
// /-/faults prints the log of requests.
func (f *Faults) wrap(h http.Handler, say refuse) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/-/faults" {
			f.control(w, r)
			return
		}
		fault := f.next(r)
		if fault == nil {
			h.ServeHTTP(w, r)
			return
		}
		switch fault.Kind {
		case Slow:
			d := fault.Delay
			if d == 0 {
				d = time.Second
			}
			select {
			case <-time.After(d):
				h.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		case Reset:
			drop(w)
		case Lost:
			h.ServeHTTP(httptest.NewRecorder(), r)
			drop(w)
		case Cut:
			a := httptest.NewRecorder()
			h.ServeHTTP(a, r)
			for k, v := range a.Header() {
				w.Header()[k] = v
			}
			w.Header().Set("Content-Length", strconv.Itoa(a.Body.Len()))
			w.WriteHeader(a.Code)
			w.Write(a.Body.Bytes()[:a.Body.Len()/2])
			http.NewResponseController(w).Flush()
			drop(w)
		default:
			if fault.RetryAfter > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(fault.RetryAfter.Seconds())))
			}
			say(w, r, fault.Kind)
		}
	})
}

// drop resets the connection.
func drop(w http.ResponseWriter) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func (f *Faults) control(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		fault, err := ParseFault(r.URL.Query().Get("fault"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		f.Add(fault)
	case http.MethodDelete:
		f.Clear()
	default:
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, l := range f.log {
			fmt.Fprintln(w, l)
		}
	}
}
