// gotemplate renders the templates of the operator stand-in and applies its key filters, with
// Go's own text/template and regexp and the functions of sprig. A Python program starts it,
// writes one request a line to its standard input (JSON) and reads one answer a line.
//
// Secrets come in with a request and leave with its answer. Nothing of them is kept, logged
// or written to a file. A request that takes too long or too much memory costs this process
// its life, not the operator: that is why it is a process of its own.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"syscall"

	"kube-vault-labs/gotemplate/helpers"
)

const (
	// The hard limit on memory. Beyond it an allocation fails and the process ends.
	mostMemory = 128 << 20
	// From here on the garbage collector works hard to stay below the hard limit.
	softMemory = 64 << 20
	// A Secret holds 1 MiB; Vault takes requests of 32 MiB, but such values fit no Secret.
	mostRequest = 16 << 20
)

type request struct {
	Op        string              `json:"op"`
	Templates []source            `json:"templates"`
	Input     helpers.SecretInput `json:"input"`
	Patterns  []string            `json:"patterns"`
	Excludes  []string            `json:"excludes"`
	Includes  []string            `json:"includes"`
	Keys      []string            `json:"keys"`
}

type answer struct {
	Error  string            `json:"error,omitempty"`
	Faults []string          `json:"faults,omitempty"`
	Data   map[string][]byte `json:"data,omitempty"`
	Keys   []string          `json:"keys,omitempty"`
}

func main() {
	confine()
	if err := serve(os.Stdin, os.Stdout); err != nil {
		os.Exit(1)
	}
}

// confine limits this process before it sees any request. What the system does not know is
// left out: the limits protect the pod, and tests also run elsewhere.
func confine() {
	debug.SetMemoryLimit(softMemory)
	limit := syscall.Rlimit{Cur: mostMemory, Max: mostMemory}
	_ = syscall.Setrlimit(syscall.RLIMIT_DATA, &limit)
	// When the pod runs out of memory, this process goes first and is started again.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("1000"), 0o600)
}

func serve(from io.Reader, to io.Writer) error {
	lines := bufio.NewReaderSize(from, 64<<10)
	out := json.NewEncoder(to)
	for {
		line, err := readLine(lines)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := out.Encode(handle(line)); err != nil {
			return err
		}
	}
}

func readLine(lines *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, more, err := lines.ReadLine()
		if err != nil {
			return nil, err
		}
		line = append(line, part...)
		if len(line) > mostRequest {
			return nil, errors.New("request too large")
		}
		if !more {
			return line, nil
		}
	}
}

func handle(line []byte) (result answer) {
	defer func() {
		// The text of a panic can hold a value, so it stays here.
		if recover() != nil {
			result = answer{Error: "the template engine failed"}
		}
	}()
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return answer{Error: "the template engine cannot read the request"}
	}
	switch asked.Op {
	case "check":
		return answer{Faults: faults(asked.Templates, asked.Patterns)}
	case "render":
		data, err := render(asked.Templates, &asked.Input)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Data: data}
	case "filter":
		keys, err := filter(asked.Keys, asked.Excludes, asked.Includes)
		if err != nil {
			return answer{Error: err.Error()}
		}
		return answer{Keys: keys}
	}
	return answer{Error: "the template engine does not know this request"}
}
