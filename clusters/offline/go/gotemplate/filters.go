package main

import "regexp"

// Compiled patterns by their text. The same few come with every pass over a secret.
var compiled = map[string]*regexp.Regexp{}

const mostCompiled = 250

func compile(pattern string) (*regexp.Regexp, error) {
	if known, ok := compiled[pattern]; ok {
		return known, nil
	}
	fresh, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	if len(compiled) >= mostCompiled {
		clear(compiled)
	}
	compiled[pattern] = fresh
	return fresh, nil
}

// matches tells whether one of the patterns is found in key. A pattern after the first that
// is found is not even compiled, so a wrong one there goes unnoticed: as upstream's does.
func matches(patterns []string, key string) (bool, error) {
	for _, pattern := range patterns {
		expression, err := compile(pattern)
		if err != nil {
			return false, err
		}
		if expression.MatchString(key) {
			return true, nil
		}
	}
	return false, nil
}

// filter returns the keys that no exclude matches and, when there are includes, that one of
// them matches.
func filter(keys, excludes, includes []string) ([]string, error) {
	kept := []string{}
	for _, key := range keys {
		out, err := matches(excludes, key)
		if err != nil {
			return nil, err
		}
		if out {
			continue
		}
		in, err := matches(includes, key)
		if err != nil {
			return nil, err
		}
		if in || len(includes) == 0 {
			kept = append(kept, key)
		}
	}
	return kept, nil
}

// faults are the errors of templates and patterns by themselves, before any secret is there.
func faults(sources []source, patterns []string) []string {
	var found []string
	_, wrong := parse(sources)
	for _, err := range wrong {
		found = append(found, err.Error())
	}
	for _, pattern := range patterns {
		if _, err := compile(pattern); err != nil {
			found = append(found, err.Error())
		}
	}
	return found
}
