// Package mlog stands in for monis.app/mlog, which cannot be had from a module proxy.
//
// It has the names that the Secrets Store CSI driver uses and nothing else, and writes
// through klog, which the driver uses for all the rest. It is not a copy: only the
// signatures are the same.
package mlog

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	controllerlog "sigs.k8s.io/controller-runtime/pkg/log"
)

// Format is how a log line is written.
type Format string

// The two formats that the driver's -log-format-json flag chooses from.
const (
	FormatText Format = "text"
	FormatJSON Format = "json"
)

// Setup makes the logger ready and returns what must run before the process ends.
func Setup() func() {
	return klog.Flush
}

// ValidateAndSetKlogLevelAndFormatGlobally applies the verbosity and the format.
//
// The level is klog's own already, from its -v flag; a negative one means that not even
// plain information would be logged, which the driver never asks for.
func ValidateAndSetKlogLevelAndFormatGlobally(_ context.Context, level klog.Level, format Format) error {
	if level < 0 {
		return fmt.Errorf("log level %d is negative", level)
	}
	switch format {
	case FormatText:
	case FormatJSON:
		// slog knows -4 as debug; logr maps V(n) to slog level -n.
		handler := slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: slog.Level(-level)})
		klog.SetLogger(logr.FromSlogHandler(handler))
	default:
		return fmt.Errorf("log format %q is neither %q nor %q", format, FormatText, FormatJSON)
	}
	// Without this, controller-runtime drops its lines and complains after 30 seconds.
	controllerlog.SetLogger(klog.Background())
	return nil
}

// Error logs an error with what was being done.
func Error(msg string, err error) {
	klog.ErrorSDepth(1, err, msg)
}

// Fatal logs an error and ends the process with status 1.
func Fatal(err error) {
	klog.ErrorSDepth(1, err, "fatal")
	klog.FlushAndExit(klog.ExitFlushTimeout, 1)
}
