package plugin

// Dialect decides, difference by difference, between the answer of the Impact
// Framework 1.1.0 (false) and the right one (true). The reference's dialect is
// the zero value. Each field is one documented, tested difference: see
// Differences.
type Dialect struct {
	// Run
	ExitCode        bool // a failed run exits 1 instead of 0
	KeepComputed    bool // a failed component fails alone; what others computed is kept in the output
	Parallel        bool // independent components run on all cores; plugins keep nothing between nodes
	OutputPath      bool // -o a.b/c writes a.b/c.yaml, not a.yaml
	DefaultsAlways  bool // --compute and --regroup see defaults as a whole run does
	EmptyRows       bool // a node without rows gives no rows instead of a crash
	MapsOnly        bool // an observation or a list of components that is no map is an error, not an empty map
	UnknownKeys     bool // keys that nothing reads are reported; global-config is read as config
	OldPipeline     bool // a pipeline in the old form is an error that shows the new form, not a silent success
	AppendNewGroups bool // --append works for groups without new inputs

	// Names and arithmetic
	ExpressionPerRow bool // an expression in config is computed for each row, not the last row's value for all
	StringsStay      bool // strings in rows are data unless they start with "="
	AnyName          bool // names may hold digits, dots, colons and spaces
	FullExpressions  bool // parentheses, decimals, one-letter names, division of names
	MappingEveryNode bool // mapping holds at every node and before inputs are checked
	RowsApart        bool // rows that a plugin makes take nothing from the input rows of the same number
	RowNumbers       bool // an error about a row says which one

	// Aggregation
	AlignByTime    bool // siblings are matched by timestamp, not by position; none is cut off
	KnownMetrics   bool // a metric without aggregation-method is an error, not its last value
	NoneOmits      bool // a metric with "component: none" is left out of groups instead of failing them
	SkipComponents bool // aggregation.skip-components works
	NumbersOnly    bool // text under sum or avg is an error, not its leading digits
	MetadataAgrees bool // two plugins that disagree about a parameter are an error, not the last one's word
	PeriodSCI      bool // grouping nodes and the run carry the SCI of the whole period

	// Plugins
	SlotAverages    bool // time-sync: averages over the whole slot, weighted by overlap
	ClockSlots      bool // time-sync: slots by the clock, nothing past end-time, gaps of any length
	KnownTimeSync   bool // time-sync: a number without aggregation-method is an error where copying would change its total
	LookupKeepsRows bool // csv-lookup: "*" leaves the table as it is
	PlainCSV        bool // csv: byte-order mark, mixed line ends, numeric column names and 0x1f are read as what they are, an empty cell is null, a file is read once
	MemoryHours     bool // e-mem: the coefficient is per gigabyte and hour, so duration counts
	PairedPoints    bool // interpolation: x and y are sorted together
	ZeroUnits       bool // sci: R = 0 or absent is an error, not sci = carbon
	CopyRemoves     bool // copy: keep-existing: false removes the input whatever its value
	ZeroDivision    bool // divide: a zero denominator is an error, not the numerator
	ConfigNames     bool // divide: an input called numerator or denominator is an ordinary input
	FullPrecision   bool // time-converter: not rounded to six decimals
	ShellErrors     bool // shell: a command that fails or is missing is an error
	RegexFlags      bool // regex: flags and slashes work; nothing is evaluated
	MockZero        bool // mock-observations: min or max may be 0; unreadable dates are an error; any length
	StrictConfig    bool // a key in config that the method does not know is an error
	FiniteNumbers   bool // a result that is not finite is an error that names the row
}

// Reference returns the dialect of the Impact Framework 1.1.0, its wrong
// answers included.
func Reference() Dialect { return Dialect{} }

// Noether returns the dialect in which every difference is mended.
func Noether() Dialect {
	return Dialect{
		ExitCode: true, KeepComputed: true, Parallel: true, OutputPath: true, DefaultsAlways: true, EmptyRows: true,
		MapsOnly: true, UnknownKeys: true, OldPipeline: true, AppendNewGroups: true,
		ExpressionPerRow: true, StringsStay: true, AnyName: true, FullExpressions: true, MappingEveryNode: true, RowsApart: true, RowNumbers: true,
		AlignByTime: true, KnownMetrics: true, NoneOmits: true, SkipComponents: true, NumbersOnly: true, MetadataAgrees: true, PeriodSCI: true,
		SlotAverages: true, ClockSlots: true, KnownTimeSync: true, LookupKeepsRows: true, PlainCSV: true, MemoryHours: true, PairedPoints: true, ZeroUnits: true,
		CopyRemoves: true, ZeroDivision: true, ConfigNames: true, FullPrecision: true, ShellErrors: true, RegexFlags: true, MockZero: true,
		StrictConfig: true, FiniteNumbers: true,
	}
}
