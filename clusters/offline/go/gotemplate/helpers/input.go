// Package helpers holds what templates see as their dot. Both names are upstream's, because
// templates and their errors show them: "can't evaluate field X in type *helpers.SecretInput".
package helpers

import (
	"bytes"
	"encoding/json"
)

// SecretInput is the data of a secret and of the custom resource that asks for it.
type SecretInput struct {
	Secrets     map[string]any
	WrapData    map[string]any
	Metadata    map[string]any
	Annotations map[string]any
	Labels      map[string]any
}

// UnmarshalJSON keeps numbers as they were written, except in WrapData, where upstream has
// floats: its Vault client decodes answers one way and wrapping information another.
func (in *SecretInput) UnmarshalJSON(text []byte) error {
	var parts struct {
		Secrets, Metadata, WrapData json.RawMessage
		Annotations, Labels         map[string]any
	}
	if err := json.Unmarshal(text, &parts); err != nil {
		return err
	}
	in.Annotations, in.Labels = parts.Annotations, parts.Labels
	for _, part := range []struct {
		text json.RawMessage
		into *map[string]any
	}{{parts.Secrets, &in.Secrets}, {parts.Metadata, &in.Metadata}} {
		if len(part.text) == 0 {
			continue
		}
		decoder := json.NewDecoder(bytes.NewReader(part.text))
		decoder.UseNumber()
		if err := decoder.Decode(part.into); err != nil {
			return err
		}
	}
	if len(parts.WrapData) == 0 {
		return nil
	}
	return json.Unmarshal(parts.WrapData, &in.WrapData)
}
