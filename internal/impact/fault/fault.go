// Package fault names what can go wrong in a manifest, with the classes of the
// Impact Framework's core library, because they are part of a failed run's
// output ("<Class>: <message>") and people search for them.
package fault

import (
	"errors"
	"fmt"
)

// Class is the class of an error as it is printed before the message.
type Class string

// The classes that this engine raises.
const (
	ManifestValidation   Class = "ManifestValidationError"
	InputValidation      Class = "InputValidationError"
	InvalidGrouping      Class = "InvalidGroupingError"
	WriteFile            Class = "WriteFileError"
	ParseCLIParams       Class = "ParseCliParamsError"
	CLISourceFile        Class = "CliSourceFileError"
	CLITargetFile        Class = "CliTargetFileError"
	AggregationMethod    Class = "InvalidAggregationMethodError"
	InvalidDirectory     Class = "InvalidDirectoryError"
	MissingAggregation   Class = "MissingAggregationParamError"
	MissingCLIFlags      Class = "MissingCliFlagsError"
	MissingDependencies  Class = "MissingManifestDependenciesError"
	MissingPluginMethod  Class = "MissingPluginMethodError"
	MissingPluginPath    Class = "MissingPluginPathError"
	PluginInitialization Class = "PluginInitializationError"
	InvalidExhaustPlugin Class = "InvalidExhaustPluginError"
	WrongArithmetic      Class = "WrongArithmeticExpressionError"
	ZeroDivision         Class = "ZeroDivisionArithmeticOperationError"
	Config               Class = "ConfigError"
	MissingInputData     Class = "MissingInputDataError"
	ProcessExecution     Class = "ProcessExecutionError"
	RegexMismatch        Class = "RegexMismatchError"
	FetchingFile         Class = "FetchingFileError"
	ReadFile             Class = "ReadFileError"
	MissingCSVColumn     Class = "MissingCSVColumnError"
	QueryDataNotFound    Class = "QueryDataNotFoundError"
	InvalidDateInInput   Class = "InvalidDateInInputError"
	InvalidPadding       Class = "InvalidPaddingError"
	InvalidInput         Class = "InvalidInputError"
	ExhaustOutputArg     Class = "ExhaustOutputArgError"
	CSVParse             Class = "CSVParseError"
	APIRequest           Class = "APIRequestError"
	Authorization        Class = "AuthorizationError"
	YAML                 Class = "YAMLException"
	// Type, Range and Syntax are what the reference's runtime throws where the
	// reference forgot to check; ours carry a message of their own.
	Type   Class = "TypeError"
	Range  Class = "RangeError"
	Syntax Class = "SyntaxError"
)

// Error is one failure. Its text is "<Class>: <Message>".
type Error struct {
	Class   Class
	Message string
	Cause   error // what was below, for errors.Is; may be nil and is not printed
}

func (e *Error) Error() string { return string(e.Class) + ": " + e.Message }

func (e *Error) Unwrap() error { return e.Cause }

// Is reports whether target is an *Error of the same class with an empty message.
func (e *Error) Is(target error) bool {
	t, ok := errors.AsType[*Error](target)
	return ok && t.Message == "" && t.Class == e.Class
}

// New returns an error of class with a formatted message; an operand of %w
// becomes its cause.
func New(class Class, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{class, err.Error(), errors.Unwrap(err)}
}
