//! What of a PDF may stay, as data: for each kind of value its keys, and the kinds of their values.
//! Both the planner and the verifier walk a file by it; what is not named here goes.
//!
//! Source: ISO 32000-1:2008, by table: 28 (catalog), 29 and 30 (pages), 33 (resources), 58
//! (graphics state), 75 (tiling), 76 (shading), 87 and 89 (pictures), 95 (forms), 111 to 124
//! (fonts), 144 (soft masks), 164 to 189 (annotations), 98 to 105 (optional content).

/// What a value is, by the place that it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Bool,
    Number,
    Name,
    Text,
    OneOf(&'static [&'static [u8]]),
    /// Numbers, and lists of numbers; true and false among them.
    Numbers,
    /// A name, or several.
    Names,
    /// Numbers and glyph names.
    Differences,
    /// A dictionary of any keys.
    Map(&'static Kind),
    List(&'static Kind),
    /// A resource that is kept where its content names it.
    Catalog,
    Pages,
    Page,
    /// The one tree of pages.
    Parent,
    Resources,
    Group,
    GraphicsState,
    /// A font and a size.
    FontSize,
    SoftMask,
    /// A picture or a form, as its Subtype says.
    Outside,
    Image,
    Form,
    /// A picture, or a range of colours.
    Mask,
    ColorSpace,
    CalGray,
    Lab,
    Pattern,
    Tiling,
    ShadingPattern,
    Shading,
    Function,
    Font,
    Descriptor,
    FontProgram,
    System,
    /// A name, a dictionary, or a character map.
    Encoding,
    EncodingDict,
    CharacterMap,
    /// A name, or a table of glyphs.
    GlyphMap,
    Content,
    Profile,
    /// Bytes of a table.
    Data,
    /// What several JBIG2 pictures share.
    Shared,
    OptionalContent,
    Layers,
    LayerUse,
    Layer,
    Usage,
    UsageExport,
    UsageView,
    UsagePrint,
    UsageZoom,
    /// A layer, a rule over layers, or what marks content.
    Property,
    Membership,
    /// Layers, operators and further lists.
    Expression,
    Mark,
    Annotation,
    Appearance,
    BorderStyle,
    BorderEffect,
    Look,
    Fields,
    /// A default appearance: operators.
    Operators,
    /// The value of a field.
    Value,
}

type Keys = &'static [(&'static str, Kind)];

/// The keys that a dictionary of this kind may have. Empty where it is no dictionary.
#[must_use]
pub fn keys(kind: Kind) -> Keys {
    use Kind as K;
    match kind {
        K::Catalog => &[
            ("Type", K::OneOf(&[b"Catalog"])),
            ("Pages", K::Pages),
            ("OCProperties", K::OptionalContent),
            ("AcroForm", K::Fields),
        ],
        K::Pages => &[("Type", K::OneOf(&[b"Pages"])), ("Count", K::Number), ("Kids", K::List(&K::Page))],
        K::Page => PAGE,
        K::Resources => RESOURCES,
        K::Group => GROUP,
        K::GraphicsState => GRAPHICS_STATE,
        K::SoftMask => SOFT_MASK,
        K::Image => IMAGE,
        K::Form => FORM,
        K::CalGray => &[("WhitePoint", K::Numbers), ("BlackPoint", K::Numbers), ("Gamma", K::Numbers), ("Matrix", K::Numbers)],
        K::Lab => &[("WhitePoint", K::Numbers), ("BlackPoint", K::Numbers), ("Range", K::Numbers)],
        K::Tiling => TILING,
        K::ShadingPattern => &[
            ("Type", K::OneOf(&[b"Pattern"])),
            ("PatternType", K::Number),
            ("Shading", K::Shading),
            ("Matrix", K::Numbers),
            ("ExtGState", K::GraphicsState),
        ],
        K::Shading => SHADING,
        K::Function => FUNCTION,
        K::Font => FONT,
        K::Descriptor => DESCRIPTOR,
        K::FontProgram => &[
            ("Length1", K::Number),
            ("Length2", K::Number),
            ("Length3", K::Number),
            ("Subtype", K::OneOf(&[b"Type1C", b"CIDFontType0C", b"OpenType"])),
        ],
        K::System => &[("Registry", K::Text), ("Ordering", K::Text), ("Supplement", K::Number)],
        K::EncodingDict => {
            &[("Type", K::OneOf(&[b"Encoding"])), ("BaseEncoding", K::OneOf(ENCODINGS)), ("Differences", K::Differences)]
        }
        K::CharacterMap => &[
            ("Type", K::OneOf(&[b"CMap"])),
            ("CMapName", K::OneOf(&[MAP_NAME])),
            ("CIDSystemInfo", K::System),
            ("WMode", K::Number),
            ("UseCMap", K::Encoding),
        ],
        K::Profile => &[("N", K::Number), ("Alternate", K::ColorSpace), ("Range", K::Numbers)],
        K::OptionalContent
        | K::Layers
        | K::LayerUse
        | K::Layer
        | K::Usage
        | K::UsageExport
        | K::UsageView
        | K::UsagePrint
        | K::UsageZoom
        | K::Membership
        | K::Mark => layer_keys(kind),
        K::Annotation | K::Appearance | K::BorderStyle | K::BorderEffect | K::Look | K::Fields => annotation_keys(kind),
        _ => &[],
    }
}

const PAGE: Keys = &[
    ("Type", Kind::OneOf(&[b"Page"])),
    ("Parent", Kind::Parent),
    ("MediaBox", Kind::Numbers),
    ("CropBox", Kind::Numbers),
    ("BleedBox", Kind::Numbers),
    ("TrimBox", Kind::Numbers),
    ("ArtBox", Kind::Numbers),
    ("Rotate", Kind::Number),
    ("UserUnit", Kind::Number),
    ("Resources", Kind::Resources),
    ("Contents", Kind::Content),
    ("Group", Kind::Group),
    ("Annots", Kind::List(&Kind::Annotation)),
];

const RESOURCES: Keys = &[
    ("ExtGState", Kind::Map(&Kind::GraphicsState)),
    ("ColorSpace", Kind::Map(&Kind::ColorSpace)),
    ("Pattern", Kind::Map(&Kind::Pattern)),
    ("Shading", Kind::Map(&Kind::Shading)),
    ("XObject", Kind::Map(&Kind::Outside)),
    ("Font", Kind::Map(&Kind::Font)),
    ("Properties", Kind::Map(&Kind::Property)),
];

const GRAPHICS_STATE: Keys = &[
    ("Type", Kind::OneOf(&[b"ExtGState"])),
    ("LW", Kind::Number),
    ("LC", Kind::Number),
    ("LJ", Kind::Number),
    ("ML", Kind::Number),
    ("D", Kind::Numbers),
    ("RI", Kind::OneOf(INTENTS)),
    ("OP", Kind::Bool),
    ("op", Kind::Bool),
    ("OPM", Kind::Number),
    ("Font", Kind::FontSize),
    ("BG", Kind::Function),
    ("BG2", Kind::Function),
    ("UCR", Kind::Function),
    ("UCR2", Kind::Function),
    ("TR", Kind::Function),
    ("TR2", Kind::Function),
    ("FL", Kind::Number),
    ("SM", Kind::Number),
    ("SA", Kind::Bool),
    ("BM", Kind::List(&Kind::OneOf(BLENDS))),
    ("SMask", Kind::SoftMask),
    ("CA", Kind::Number),
    ("ca", Kind::Number),
    ("AIS", Kind::Bool),
    ("TK", Kind::Bool),
];

const GROUP: Keys = &[
    ("Type", Kind::OneOf(&[b"Group"])),
    ("S", Kind::OneOf(&[b"Transparency"])),
    ("CS", Kind::ColorSpace),
    ("I", Kind::Bool),
    ("K", Kind::Bool),
];

const SOFT_MASK: Keys = &[
    ("Type", Kind::OneOf(&[b"Mask"])),
    ("S", Kind::OneOf(&[b"Alpha", b"Luminosity"])),
    ("G", Kind::Outside),
    ("BC", Kind::Numbers),
    ("TR", Kind::Function),
];

const IMAGE: Keys = &[
    ("Type", Kind::OneOf(&[b"XObject"])),
    ("Subtype", Kind::OneOf(&[b"Image"])),
    ("Width", Kind::Number),
    ("Height", Kind::Number),
    ("ColorSpace", Kind::ColorSpace),
    ("BitsPerComponent", Kind::Number),
    ("Intent", Kind::OneOf(INTENTS)),
    ("ImageMask", Kind::Bool),
    ("Mask", Kind::Mask),
    ("Decode", Kind::Numbers),
    ("Interpolate", Kind::Bool),
    ("SMask", Kind::Outside),
    ("SMaskInData", Kind::Number),
    ("Matte", Kind::Numbers),
    ("OC", Kind::Property),
];

const FORM: Keys = &[
    ("Type", Kind::OneOf(&[b"XObject"])),
    ("Subtype", Kind::OneOf(&[b"Form"])),
    ("FormType", Kind::Number),
    ("BBox", Kind::Numbers),
    ("Matrix", Kind::Numbers),
    ("Resources", Kind::Resources),
    ("Group", Kind::Group),
    ("OC", Kind::Property),
];

const TILING: Keys = &[
    ("Type", Kind::OneOf(&[b"Pattern"])),
    ("PatternType", Kind::Number),
    ("PaintType", Kind::Number),
    ("TilingType", Kind::Number),
    ("BBox", Kind::Numbers),
    ("XStep", Kind::Number),
    ("YStep", Kind::Number),
    ("Resources", Kind::Resources),
    ("Matrix", Kind::Numbers),
];

const SHADING: Keys = &[
    ("ShadingType", Kind::Number),
    ("ColorSpace", Kind::ColorSpace),
    ("Background", Kind::Numbers),
    ("BBox", Kind::Numbers),
    ("AntiAlias", Kind::Bool),
    ("Domain", Kind::Numbers),
    ("Matrix", Kind::Numbers),
    ("Function", Kind::Function),
    ("Coords", Kind::Numbers),
    ("Extend", Kind::Numbers),
    ("BitsPerCoordinate", Kind::Number),
    ("BitsPerComponent", Kind::Number),
    ("BitsPerFlag", Kind::Number),
    ("VerticesPerRow", Kind::Number),
    ("Decode", Kind::Numbers),
];

const FUNCTION: Keys = &[
    ("FunctionType", Kind::Number),
    ("Domain", Kind::Numbers),
    ("Range", Kind::Numbers),
    ("Size", Kind::Numbers),
    ("BitsPerSample", Kind::Number),
    ("Order", Kind::Number),
    ("Encode", Kind::Numbers),
    ("Decode", Kind::Numbers),
    ("C0", Kind::Numbers),
    ("C1", Kind::Numbers),
    ("N", Kind::Number),
    ("Functions", Kind::List(&Kind::Function)),
    ("Bounds", Kind::Numbers),
];

const FONT: Keys = &[
    ("Type", Kind::OneOf(&[b"Font"])),
    ("Subtype", Kind::OneOf(&[b"Type0", b"Type1", b"MMType1", b"TrueType", b"Type3", b"CIDFontType0", b"CIDFontType2"])),
    ("BaseFont", Kind::Name),
    ("FirstChar", Kind::Number),
    ("LastChar", Kind::Number),
    ("Widths", Kind::Numbers),
    ("FontDescriptor", Kind::Descriptor),
    ("Encoding", Kind::Encoding),
    ("ToUnicode", Kind::CharacterMap),
    ("FontBBox", Kind::Numbers),
    ("FontMatrix", Kind::Numbers),
    ("CharProcs", Kind::Map(&Kind::Content)),
    ("Resources", Kind::Resources),
    ("DescendantFonts", Kind::List(&Kind::Font)),
    ("CIDSystemInfo", Kind::System),
    ("DW", Kind::Number),
    ("W", Kind::Numbers),
    ("DW2", Kind::Numbers),
    ("W2", Kind::Numbers),
    ("CIDToGIDMap", Kind::GlyphMap),
];

const DESCRIPTOR: Keys = &[
    ("Type", Kind::OneOf(&[b"FontDescriptor"])),
    ("FontName", Kind::Name),
    ("FontStretch", Kind::OneOf(STRETCHES)),
    ("FontWeight", Kind::Number),
    ("Flags", Kind::Number),
    ("FontBBox", Kind::Numbers),
    ("ItalicAngle", Kind::Number),
    ("Ascent", Kind::Number),
    ("Descent", Kind::Number),
    ("Leading", Kind::Number),
    ("CapHeight", Kind::Number),
    ("XHeight", Kind::Number),
    ("StemV", Kind::Number),
    ("StemH", Kind::Number),
    ("AvgWidth", Kind::Number),
    ("MaxWidth", Kind::Number),
    ("MissingWidth", Kind::Number),
    ("FontFile", Kind::FontProgram),
    ("FontFile2", Kind::FontProgram),
    ("FontFile3", Kind::FontProgram),
];

/// Layers: which are shown, and when. Their names are replaced.
fn layer_keys(kind: Kind) -> Keys {
    use Kind as K;
    const STATE: Kind = Kind::OneOf(&[b"ON", b"OFF"]);
    match kind {
        K::OptionalContent => &[("OCGs", K::List(&K::Layer)), ("D", K::Layers)],
        K::Layers => &[
            ("BaseState", K::OneOf(&[b"ON", b"OFF", b"Unchanged"])),
            ("ON", K::List(&K::Layer)),
            ("OFF", K::List(&K::Layer)),
            ("AS", K::List(&K::LayerUse)),
        ],
        K::LayerUse => &[
            ("Event", K::OneOf(&[b"View", b"Print", b"Export"])),
            ("OCGs", K::List(&K::Layer)),
            ("Category", K::List(&K::OneOf(USES))),
        ],
        K::Layer => &[
            ("Type", K::OneOf(&[b"OCG"])),
            ("Name", K::Text),
            ("Intent", K::List(&K::OneOf(&[b"View", b"Design", b"All"]))),
            ("Usage", K::Usage),
        ],
        K::Usage => &[("Export", K::UsageExport), ("View", K::UsageView), ("Print", K::UsagePrint), ("Zoom", K::UsageZoom)],
        K::UsageExport => &[("ExportState", STATE)],
        K::UsageView => &[("ViewState", STATE)],
        K::UsagePrint => &[("PrintState", STATE)],
        K::UsageZoom => &[("min", K::Number), ("max", K::Number)],
        K::Membership => &[
            ("Type", K::OneOf(&[b"OCMD"])),
            ("OCGs", K::List(&K::Layer)),
            ("P", K::OneOf(&[b"AllOn", b"AnyOn", b"AnyOff", b"AllOff"])),
            ("VE", K::Expression),
        ],
        K::Mark => &[("ActualText", K::Text)],
        _ => &[],
    }
}

/// What is drawn upon a page. No action, no note behind it, no name of who wrote it.
fn annotation_keys(kind: Kind) -> Keys {
    use Kind as K;
    match kind {
        K::Annotation => &[
            ("Type", K::OneOf(&[b"Annot"])),
            ("Subtype", K::OneOf(ANNOTATIONS)),
            ("Rect", K::Numbers),
            ("F", K::Number),
            ("AP", K::Appearance),
            ("Border", K::Numbers),
            ("BS", K::BorderStyle),
            ("BE", K::BorderEffect),
            ("C", K::Numbers),
            ("IC", K::Numbers),
            ("CA", K::Number),
            ("QuadPoints", K::Numbers),
            ("L", K::Numbers),
            ("LE", K::List(&K::OneOf(LINE_ENDS))),
            ("Vertices", K::Numbers),
            ("InkList", K::Numbers),
            ("RD", K::Numbers),
            ("Name", K::OneOf(ICONS)),
            ("OC", K::Property),
            ("MK", K::Look),
            ("Contents", K::Text),
            ("DA", K::Operators),
            ("Q", K::Number),
            ("FT", K::OneOf(&[b"Btn", b"Tx", b"Ch"])),
            ("Ff", K::Number),
            ("MaxLen", K::Number),
            ("T", K::Text),
            ("V", K::Value),
            ("Opt", K::Value),
        ],
        K::Appearance => &[("N", K::Outside)],
        K::BorderStyle => &[
            ("Type", K::OneOf(&[b"Border"])),
            ("W", K::Number),
            ("S", K::OneOf(&[b"S", b"D", b"B", b"I", b"U"])),
            ("D", K::Numbers),
        ],
        K::BorderEffect => &[("S", K::OneOf(&[b"S", b"C"])), ("I", K::Number)],
        K::Look => &[("R", K::Number), ("BC", K::Numbers), ("BG", K::Numbers)],
        K::Fields => &[
            ("Fields", K::List(&K::Annotation)),
            ("NeedAppearances", K::Bool),
            ("DR", K::Resources),
            ("DA", K::Operators),
            ("Q", K::Number),
        ],
        _ => &[],
    }
}

/// The kind of the value under `key`; `None`: it goes.
#[must_use]
pub fn kind_of(kind: Kind, key: &[u8]) -> Option<Kind> {
    keys(kind).iter().find(|(name, _)| name.as_bytes() == key).map(|(_, kind)| *kind)
}

/// Annotations that are drawn. Files, sounds, films, windows, scripts and models are not.
pub const ANNOTATIONS: &[&[u8]] = &[
    b"Text",
    b"Link",
    b"FreeText",
    b"Line",
    b"Square",
    b"Circle",
    b"Polygon",
    b"PolyLine",
    b"Highlight",
    b"Underline",
    b"Squiggly",
    b"StrikeOut",
    b"Stamp",
    b"Caret",
    b"Ink",
    b"Widget",
    b"Watermark",
    b"PrinterMark",
    b"Redact",
];
/// What a note or a stamp without a picture of its own looks like (tables 172 and 181).
pub const ICONS: &[&[u8]] = &[
    b"Comment",
    b"Key",
    b"Note",
    b"Help",
    b"NewParagraph",
    b"Paragraph",
    b"Insert",
    b"Approved",
    b"Experimental",
    b"NotApproved",
    b"AsIs",
    b"Expired",
    b"NotForPublicRelease",
    b"Confidential",
    b"Final",
    b"Sold",
    b"Departmental",
    b"ForComment",
    b"TopSecret",
    b"Draft",
    b"ForPublicRelease",
];
/// How colours are fitted (table 70).
pub const INTENTS: &[&[u8]] = &[b"AbsoluteColorimetric", b"RelativeColorimetric", b"Saturation", b"Perceptual"];
/// How colours are laid over each other (tables 136 and 137).
pub const BLENDS: &[&[u8]] = &[
    b"Normal",
    b"Compatible",
    b"Multiply",
    b"Screen",
    b"Overlay",
    b"Darken",
    b"Lighten",
    b"ColorDodge",
    b"ColorBurn",
    b"HardLight",
    b"SoftLight",
    b"Difference",
    b"Exclusion",
    b"Hue",
    b"Saturation",
    b"Color",
    b"Luminosity",
];
/// What layers are switched for (table 102).
const USES: &[&[u8]] = &[b"View", b"Print", b"Export", b"Zoom"];
/// Ends of lines (table 176).
const LINE_ENDS: &[&[u8]] =
    &[b"None", b"Square", b"Circle", b"Diamond", b"OpenArrow", b"ClosedArrow", b"Butt", b"ROpenArrow", b"RClosedArrow", b"Slash"];
/// Widths of a font (table 122).
const STRETCHES: &[&[u8]] = &[
    b"UltraCondensed",
    b"ExtraCondensed",
    b"Condensed",
    b"SemiCondensed",
    b"Normal",
    b"SemiExpanded",
    b"Expanded",
    b"ExtraExpanded",
    b"UltraExpanded",
];
/// Encodings of simple fonts (annex D.1).
const ENCODINGS: &[&[u8]] = &[b"StandardEncoding", b"MacRomanEncoding", b"WinAnsiEncoding", b"MacExpertEncoding"];
/// What every character map of the file itself is called.
pub const MAP_NAME: &[u8] = b"Map";
/// Collections of characters (§9.7.3): who registered them, and which.
pub const REGISTRIES: &[&[u8]] = &[b"Adobe"];
pub const ORDERINGS: &[&[u8]] = &[b"Identity", b"UCS", b"GB1", b"CNS1", b"Japan1", b"Japan2", b"Korea1", b"KR"];
/// Parts of a character map (Adobe Technical Note 5014 §4): between `begin` and `end` of one of these
/// stand codes, and what they become.
pub const MAP_PARTS: &[&[u8]] =
    &[b"codespacerange", b"bfchar", b"bfrange", b"cidchar", b"cidrange", b"notdefchar", b"notdefrange"];
/// What every character map begins with, a token on a line, and ends with.
pub const MAP_HEAD: &[u8] = b"/CIDInit\n/ProcSet\nfindresource\nbegin\n12\ndict\nbegin\nbegincmap\n/CMapName\n/Map\ndef\n";
pub const MAP_END: &[u8] = b"endcmap\nend\nend\n";

/// Tables of an outline font that draw (§9.9). Names of glyphs (`post`) are among them, for some fonts
/// are encoded by them.
pub const FONT_TABLES: &[&[u8; 4]] = &[
    b"CFF ", b"GSUB", b"OS/2", b"VORG", b"cmap", b"cvt ", b"fpgm", b"gasp", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp",
    b"post", b"prep", b"vhea", b"vmtx",
];

/// True for a font of tables: `TrueType`, `OpenType`.
#[must_use]
pub fn is_outline_font(program: &[u8]) -> bool {
    matches!(program.first_chunk(), Some(b"\0\x01\0\0" | b"true" | b"OTTO"))
}

/// Operators of a compact font whose strings are words (Adobe Technical Note 5176 table 9): version,
/// notice, names, weight; copyright, program, base font.
pub const CFF_WORDS: &[u16] = &[0, 1, 2, 3, 4, 0x0C00, 0x0C15, 0x0C16];

/// Annotation flags (table 165): on no screen and no paper.
pub const HIDDEN: i64 = 2;

/// What every layer is called.
pub const LAYER_NAME: &[u8] = b"Layer";

/// The head of every output: the version, and bytes that mark it as binary (§7.5.2).
pub const HEAD: &[u8] = b"%PDF-1.7\n%\xE2\xE3\xCF\xD3\n";

/// What an operator takes (annex A): `n` number, `s` string, `/` name, `i` how colours are fitted, `a` array of numbers and
/// strings, `c` colours and at most a pattern's name. `None`: there is no such operator.
#[must_use]
pub fn operands(operator: &[u8]) -> Option<&'static str> {
    Some(match operator {
        b"b" | b"B" | b"b*" | b"B*" | b"BT" | b"ET" | b"EMC" | b"BX" | b"EX" | b"f" | b"F" | b"f*" | b"h" | b"n" | b"q"
        | b"Q" | b"s" | b"S" | b"T*" | b"W" | b"W*" => "",
        b"cm" | b"c" | b"Tm" | b"d1" => "nnnnnn",
        b"re" | b"v" | b"y" | b"k" | b"K" => "nnnn",
        b"rg" | b"RG" => "nnn",
        b"l" | b"m" | b"Td" | b"TD" | b"d0" => "nn",
        b"w" | b"J" | b"j" | b"M" | b"i" | b"g" | b"G" | b"Tc" | b"Tw" | b"Tz" | b"TL" | b"Tr" | b"Ts" => "n",
        b"d" => "an",
        b"gs" | b"Do" | b"sh" | b"cs" | b"CS" | b"BMC" => "/",
        b"ri" => "i",
        b"BDC" => "/p",
        b"Tf" => "/n",
        b"Tj" | b"'" => "s",
        b"\"" => "nns",
        b"TJ" => "a",
        b"sc" | b"SC" | b"scn" | b"SCN" => "c",
        _ => return None,
    })
}

/// Most numbers of one colour (annex C: `DeviceN` has at most 32).
pub const COLOURS_MAX: usize = 32;

/// The category of resources that an operator's name is looked up in.
#[must_use]
pub fn category(operator: &[u8]) -> Option<&'static str> {
    Some(match operator {
        b"gs" => "ExtGState",
        b"Do" => "XObject",
        b"sh" => "Shading",
        b"cs" | b"CS" => "ColorSpace",
        b"scn" | b"SCN" | b"sc" | b"SC" => "Pattern",
        b"Tf" => "Font",
        b"BDC" => "Properties",
        _ => return None,
    })
}

/// Operators of a function that is a program (table 42).
pub const CALCULATOR: &[&[u8]] = &[
    b"abs",
    b"add",
    b"atan",
    b"ceiling",
    b"cos",
    b"cvi",
    b"cvr",
    b"div",
    b"exp",
    b"floor",
    b"idiv",
    b"ln",
    b"log",
    b"mod",
    b"mul",
    b"neg",
    b"round",
    b"sin",
    b"sqrt",
    b"sub",
    b"truncate",
    b"and",
    b"bitshift",
    b"eq",
    b"false",
    b"ge",
    b"gt",
    b"le",
    b"lt",
    b"ne",
    b"not",
    b"or",
    b"true",
    b"xor",
    b"if",
    b"ifelse",
    b"copy",
    b"dup",
    b"exch",
    b"index",
    b"pop",
    b"roll",
];

/// Keys of an inline picture that stay (table 93), in their long form.
#[must_use]
pub fn inline_key(key: &[u8]) -> Option<&'static [u8]> {
    Some(match key {
        b"BPC" | b"BitsPerComponent" => b"BPC",
        b"CS" | b"ColorSpace" => b"CS",
        b"D" | b"Decode" => b"D",
        b"DP" | b"DecodeParms" => b"DP",
        b"F" | b"Filter" => b"F",
        b"H" | b"Height" => b"H",
        b"IM" | b"ImageMask" => b"IM",
        b"Intent" => b"Intent",
        b"I" | b"Interpolate" => b"I",
        b"W" | b"Width" => b"W",
        _ => return None,
    })
}

/// What the decoder of a fax or a bilevel picture has to be told (tables 11 and 12).
pub const CODING_KEYS: &[&str] = &[
    "K",
    "EndOfLine",
    "EncodedByteAlign",
    "Columns",
    "Rows",
    "EndOfBlock",
    "BlackIs1",
    "DamagedRowsBeforeError",
    "ColorTransform",
];
/// What undoes a predictor (table 8).
pub const PREDICTOR_KEYS: &[&str] = &["Predictor", "Colors", "BitsPerComponent", "Columns"];

/// Markers of JPEG 2000 that are asked for by name (ITU-T T.800 table A.2).
pub mod jpx_marker {
    pub const SOT: u8 = 0x90;
    pub const SOD: u8 = 0x93;
    pub const COM: u8 = 0x64;
    pub const TLM: u8 = 0x55;
}

/// True for segments that say how a JPEG 2000 picture is decoded.
#[must_use]
pub fn is_jpx_marker(code: u8) -> bool {
    matches!(code, 0x50..=0x53 | 0x57 | 0x58 | 0x5C..=0x61 | 0x63)
}

/// True for boxes that say how it is shown (annex I.5.3), less resolutions.
#[must_use]
pub fn is_jpx_header_box(kind: [u8; 4]) -> bool {
    matches!(&kind, b"ihdr" | b"bpcc" | b"colr" | b"pclr" | b"cmap" | b"cdef")
}

/// True for segments of JBIG2 that are picture (ITU-T T.88 §7.3): dictionaries, regions, tables,
/// pages. Not for ends of files, profiles and extensions, which hold comments.
#[must_use]
pub fn is_jbig2_segment(kind: u8) -> bool {
    matches!(kind, 0 | 4 | 6 | 7 | 16 | 20 | 22 | 23 | 36 | 38..=40 | 42 | 43 | 48..=50 | 53)
}
