package main

import (
	"bytes"
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"

	"kube-vault-labs/gotemplate/helpers"
)

// What all templates of one request may write together.
const mostOutput = 4 << 20

var errTooMuch = errors.New("the result is larger than 4 MiB")

// forbidden are the hermetic functions of sprig that upstream's operator leaves out: those
// that make keys or certificates, encrypt, or depend on the time zone of the machine.
var forbidden = []string{
	"decryptAES", "derivePassword", "encryptAES", "genCA", "genCAWithKey", "genPrivateKey",
	"genSelfSignedCert", "genSelfSignedCertWithKey", "genSignedCert", "genSignedCertWithKey",
	"hello", "mustDateModify", "must_date_modify", "toDate", "unixEpoch",
}

var functions = allowed()

func allowed() template.FuncMap {
	found := sprig.HermeticTxtFuncMap()
	for _, name := range forbidden {
		delete(found, name)
	}
	return found
}

type source struct {
	// Key of the Secret; empty for a template that others only call.
	Key  string `json:"key"`
	Name string `json:"name"`
	Text string `json:"text"`
}

func parse(sources []source) (*template.Template, []error) {
	set := template.New("").Funcs(functions)
	var faults []error
	for _, one := range sources {
		if _, err := set.New(one.Name).Parse(one.Text); err != nil {
			faults = append(faults, fmt.Errorf("parse error: %w", err))
		}
	}
	return set, faults
}

func render(sources []source, in *helpers.SecretInput) (map[string][]byte, error) {
	set, faults := parse(sources)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	left := mostOutput
	data := make(map[string][]byte)
	for _, one := range sources {
		if one.Key == "" {
			continue
		}
		written := &limited{left: &left}
		if err := set.ExecuteTemplate(written, one.Name, in); err != nil {
			if errors.Is(err, errTooMuch) {
				return nil, fmt.Errorf("template: %s: %w", one.Name, errTooMuch)
			}
			return nil, errors.New(redacted(err.Error(), in))
		}
		data[one.Key] = written.Bytes()
	}
	return data, nil
}

// limited is a buffer that refuses more than what is left of the common budget.
type limited struct {
	bytes.Buffer
	left *int
}

func (l *limited) Write(part []byte) (int, error) {
	if len(part) > *l.left {
		return 0, errTooMuch
	}
	*l.left -= len(part)
	return l.Buffer.Write(part)
}

// Messages of text/template that end in a value.
var revealing = []string{
	"range can't iterate over", "range over send-only channel", "if/with can't use",
}

// redacted is the text of an execution error without values. The messages above are cut, as
// upstream cuts them. Functions quote their arguments, too ("invalid character in c4n4ry"):
// those that are a value of the secret are replaced.
func redacted(text string, in *helpers.SecretInput) string {
	start := 0
	if at := strings.Index(text, " executing "); at >= 0 {
		start = at
		if end := strings.Index(text[at:], ">: "); end >= 0 {
			start = at + end
		}
	}
	head, tail := text[:start], text[start:]
	for _, phrase := range revealing {
		if at := strings.Index(tail, phrase); at >= 0 {
			return head + tail[:at+len(phrase)] + " <redacted>"
		}
	}
	for _, value := range values(in.Secrets, in.WrapData) {
		// A word of the template itself is no secret: the name of a field may be a value, too.
		if !strings.Contains(head, value) {
			tail = strings.ReplaceAll(tail, value, "<redacted>")
		}
	}
	return head + tail
}

// Shorter ones say nothing, and replacing them would make the message unreadable.
const shortest = 4

// values are the texts of all leaves, as they are and as %q quotes them, the longest first.
func values(trees ...map[string]any) []string {
	var found []string
	var walk func(any)
	walk = func(node any) {
		switch typed := node.(type) {
		case map[string]any:
			for _, child := range typed {
				walk(child)
			}
		case []any:
			for _, child := range typed {
				walk(child)
			}
		case nil, bool:
		default:
			text := fmt.Sprint(typed)
			if len(text) < shortest {
				return
			}
			found = append(found, text)
			if quoted := strconv.Quote(text); quoted[1:len(quoted)-1] != text {
				found = append(found, quoted[1:len(quoted)-1])
			}
		}
	}
	for _, tree := range trees {
		walk(tree)
	}
	sort.Slice(found, func(i, j int) bool { return len(found[i]) > len(found[j]) })
	return found
}
