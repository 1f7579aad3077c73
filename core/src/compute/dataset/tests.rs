use super::*;
use crate::{
    codec::{BoundedVec, decode, encode},
    compute::limits::{DATASET_BYTES_MAX, FEATURES_MAX},
};
use alloc::{format, string::String, vec::Vec};
use proptest::prelude::*;

fn table(rows: usize) -> String {
    let rows =
        (0..rows).map(|i| format!("{},{}.5,{}\n", i * 7 % 13, i * 5 % 11, ["b", "a"][i % 2]));
    String::from("x,y,kind\n") + &rows.collect::<String>()
}

fn with(text: &str, change: impl Fn(&mut CsvOptions<'_>)) -> Result<Dataset, DatasetError> {
    let mut options = CsvOptions::new(Label::Name("kind"));
    change(&mut options);
    prepare(text.as_bytes(), &options)
}

#[test]
fn split_keeps_a_fifth_of_each_class() {
    let data = with(&table(50), |_| {}).unwrap();
    assert_eq!((data.train().rows(), data.test().rows()), (40, 10));
    assert_eq!(data.test().labels().iter().filter(|y| **y == 0).count(), 5);
    assert_eq!(data.classes().iter().map(|c| &**c).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(data.columns().iter().map(|c| &**c).collect::<Vec<_>>(), ["x", "y"]);
    assert_ne!(data, with(&table(50), |o| o.seed = 1).unwrap());
}

#[test]
fn label_by_name_position_or_last() {
    let by_name = with(&table(20), |_| {}).unwrap();
    for label in
        [Label::Index(2), Label::Last, Label::Name("2"), Label::Name("-1"), Label::Name(" kind ")]
    {
        assert_eq!(with(&table(20), |o| o.label = label).unwrap(), by_name, "{label:?}");
    }
    let bare: String = table(20).lines().skip(1).map(|l| format!("{l}\n")).collect();
    let bare = with(&bare, |o| (o.header, o.label) = (false, Label::Name("2"))).unwrap();
    assert_eq!((bare.train(), bare.label()), (by_name.train(), "2"));
}

#[test]
fn numeric_classes_sort_as_numbers() {
    let text: String = String::from("x,kind\n")
        + &(0..12).map(|i| format!("{i},{}\n", [10, 9, -1][i % 3])).collect::<String>();
    let data = with(&text, |_| {}).unwrap();
    assert_eq!(data.classes().iter().map(|c| &**c).collect::<Vec<_>>(), ["-1", "9", "10"]);
    assert_eq!(data.test().rows(), 0);
}

#[test]
fn a_constant_column_becomes_zero_and_other_columns_are_scaled() {
    let text: String = String::from("c,x,kind\n")
        + &(0..40).map(|i| format!("0.1,{},{}\n", i * i, i % 2)).collect::<String>();
    // Forty times 0.1 does not average to 0.1 exactly; only an exactly constant sum gives deviation
    // 0.
    let text = text.replace("0.1,", "3,");
    let data = with(&text, |_| {}).unwrap();
    let (constant, spread): (Vec<i8>, Vec<i8>) =
        data.train().values().chunks_exact(2).map(|row| (row[0], row[1])).unzip();
    assert!(constant.iter().all(|v| *v == 0));
    assert!(spread.iter().any(|v| *v > 32) && spread.iter().any(|v| *v < -20));
    let row = data.normalizer().apply(&[3.0, 1e300]).unwrap();
    assert_eq!(row, [0, 127]);
    assert!(data.normalizer().apply(&[3.0]).is_err());
    assert_eq!(
        data.normalizer().apply(&[3.0, f64::NAN]),
        Err(NotNormalizable::NotFinite { index: 1 })
    );
}

#[test]
fn errors_name_the_line_and_the_cause() {
    let error = |text: &str| with(text, |_| {}).unwrap_err();
    assert_eq!(error(""), DatasetError::Empty);
    assert_eq!(error("\n  \n"), DatasetError::Empty);
    assert_eq!(error("x,kind\n"), DatasetError::NoRows);
    assert_eq!(error("kind\na\nb\n"), DatasetError::NoFeatures);
    assert_eq!(
        error("x,y\n1,a\n"),
        DatasetError::MissingLabel { label: "kind".into(), columns: "x, y".into() }
    );
    assert_eq!(
        error("x,kind,kind\n1,a,b\n"),
        DatasetError::DuplicateColumn { name: "kind".into(), count: 2 }
    );
    let unchecked = with("x,kind,kind\n1,a,b\n", |o| o.check_header = false).unwrap_err();
    assert!(matches!(unchecked, DatasetError::AmbiguousLabel { count: 2, .. }));
    assert_eq!(
        error("x,kind\n1,a\n1,2,b\n"),
        DatasetError::UnequalRow { line: 3, found: 3, expected: 2 }
    );
    let text = error("x,kind\n1,a\n\nsoon,b\n");
    assert_eq!(
        text,
        DatasetError::NotANumber { line: 4, column: 1, name: "x".into(), text: "soon".into() }
    );
    assert_eq!(format!("{text}"), "line 4, column 1 (x): \"soon\" is not a number");
    for bad in ["inf", "NaN", "1e999"] {
        assert!(
            matches!(error(&format!("x,kind\n{bad},a\n")), DatasetError::NotFinite { line: 2, .. }),
            "{bad}"
        );
    }
    assert!(matches!(error("x,kind\n,a\n"), DatasetError::NotANumber { line: 2, column: 1, .. }));
    assert!(matches!(error("x,kind\n1,\n"), DatasetError::NoClass { line: 2, column: 2, .. }));
    assert_eq!(error("x,kind\n1,a\n2,a\n"), DatasetError::OneClass { class: "a".into() });
    assert!(matches!(
        error(&format!("x,kind\n1,{}\n", "a".repeat(129))),
        DatasetError::NameTooLong { line: 2, .. }
    ));
    let many: String = (0..256).map(|i| format!("1,c{i}\n")).collect();
    assert!(matches!(
        error(&(String::from("x,kind\n") + &many)),
        DatasetError::TooManyClasses { .. }
    ));
    let huge = "x,kind\n1e308,a\n1e308,b\n1e308,a\n-1e308,b\n";
    assert_eq!(error(huge), DatasetError::Overflow { name: "x".into() });
    let wide = (0..=FEATURES_MAX).map(|i| format!("f{i},")).collect::<String>() + "kind\n";
    assert!(matches!(error(&wide), DatasetError::TooMany { what: "columns", .. }));
    let first_line =
        with("x,kind\n1,a\n", |o| (o.header, o.label) = (false, Label::Last)).unwrap_err();
    assert!(format!("{first_line}").ends_with("(is the first line a header?)"));
}

/// Regression: a table without a header trained on all rows but one, and its columns were named
/// "0", "0", "5".
#[test]
fn a_header_of_numbers_or_with_a_name_twice_is_refused() {
    let rows = "1,2,3,4,a\n4,3,2,1,b\n";
    let header = |line: &str| with(&format!("{line}\n{rows}"), |o| o.label = Label::Last).err();
    let message = header("0,0,5,13,9").unwrap().to_string();
    assert!(message.contains("(0, 0, 5, 13, 9)") && message.contains("--no-header"), "{message}");
    for line in ["0,1,5,13,9", "0.5,1,2,3,-1", "1,2,3,4,5"] {
        assert!(matches!(header(line), Some(DatasetError::NumericHeader { .. })), "{line}");
    }
    let short = with("0,1\n1,0\n", |o| o.label = Label::Last);
    assert!(matches!(short, Err(DatasetError::NumericHeader { .. })));
    assert_eq!(header("2019,2020,2021,2022,kind"), None, "years");
    assert_eq!(header("0,1,2,3,4"), None, "positions");
    for (line, name) in [("a,b,a,d,kind", "a"), ("a,b,,,kind", ""), ("0,0,0,0,kind", "0")] {
        let refused = header(line).unwrap();
        assert!(
            matches!(&refused, DatasetError::DuplicateColumn { name: n, .. } if n == name),
            "{line}: {refused}"
        );
        let accepted = with(&format!("{line}\n{rows}"), |o| {
            (o.label, o.check_header) = (Label::Last, false);
        });
        assert!(accepted.is_ok(), "an old job is verified: {line}");
    }
}

#[test]
fn decimal_commas_are_named() {
    let error = with("x;kind\n1,5;a\n", |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("decimal commas are not read: write 1.5 for 1,5"), "{error}");
    let error = with("x;kind\n-1.234,5;a\n", |_| {}).unwrap_err().to_string();
    assert!(error.contains("decimal commas"), "{error}");
    let error = with("x;kind\n1,5,2;a\n", |_| {}).unwrap_err().to_string();
    assert!(error.ends_with("is not a number"), "{error}");
}

#[test]
fn decoding_refuses_contradictions() {
    let data = with(&table(30), |_| {}).unwrap();
    let bytes = encode(&data);
    assert!(bytes.len() <= data.encoded_len());
    assert_eq!(decode::<Dataset>(&bytes, DATASET_BYTES_MAX).unwrap(), data);
    let broken = |change: &dyn Fn(&mut Dataset)| {
        let mut bad = data.clone();
        change(&mut bad);
        decode::<Dataset>(&encode(&bad), DATASET_BYTES_MAX).is_err()
    };
    assert!(broken(&|d| d.columns = BoundedVec::new()));
    assert!(broken(&|d| d.classes = BoundedVec::truncated(d.classes.iter().take(1).cloned())));
    assert!(broken(&|d| d.test = Samples::new(3, alloc::vec![0; 3], alloc::vec![0]).unwrap()));
    assert!(broken(&|d| d.train = Samples::new(2, alloc::vec![0; 2], alloc::vec![2]).unwrap()));
    assert!(broken(&|d| d.train = Samples::new(2, Vec::new(), Vec::new()).unwrap()));
    for end in 0..bytes.len() {
        assert!(decode::<Dataset>(&bytes[..end], DATASET_BYTES_MAX).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn any_text_prepares_or_fails(
        text in "(x,kind\n)?([0-9ab,.\"e\n-]{0,80})",
        header in any::<bool>(),
    ) {
        if let Ok(data) = with(&text, |o| (o.header, o.label) = (header, Label::Last)) {
            prop_assert_eq!(decode::<Dataset>(&encode(&data), DATASET_BYTES_MAX).unwrap(), data);
        }
    }

    #[test]
    fn any_bytes_decode_or_fail(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<Dataset>(&bytes, 300);
        let _ = decode::<Samples>(&bytes, 300);
    }
}

#[test]
fn whole_numbers_in_many_columns_are_scaled_together() {
    let text = |columns: usize, value: &str| {
        let header: String = (0..columns).map(|i| format!("p{i},")).collect::<String>() + "kind\n";
        let row = |i: usize| {
            format!("{value},")
                + &(1..columns).map(|j| format!("{},", (i * j) % 256)).collect::<String>()
        };
        header + &(0..20).map(|i| format!("{}{}\n", row(i), i % 2)).collect::<String>()
    };
    let scaling = |text: String, requested| {
        with(&text, |o| o.scaling = requested).unwrap().normalizer().scaling()
    };
    assert_eq!(scaling(text(PIXELS_MIN, "255"), None), Scaling::Global);
    assert_eq!(scaling(text(PIXELS_MIN, "255"), Some(Scaling::PerColumn)), Scaling::PerColumn);
    for (columns, value) in
        [(PIXELS_MIN - 1, "1"), (PIXELS_MIN, "0.5"), (PIXELS_MIN, "256"), (PIXELS_MIN, "-1")]
    {
        assert_eq!(scaling(text(columns, value), None), Scaling::PerColumn, "{columns} {value}");
    }
}

#[test]
fn a_batch_finds_the_columns_of_the_model_by_name() {
    let data = with(&table(50), |_| {}).unwrap();
    let names: Vec<&str> = data.columns().iter().map(|c| &**c).collect();
    let read =
        |csv: &str, header| read_batch(csv.as_bytes(), header, None, &names, data.normalizer());
    let straight = read("x,y\n3,4.5\n1,2\n", true).unwrap();
    assert_eq!((straight.rows(), straight.features()), (2, 2));
    assert_eq!(read("id;y;x\na;4.5;3\nb;2;1\n", true).unwrap(), straight);
    assert_eq!(straight.row(0).unwrap().0, data.normalizer().apply(&[3.0, 4.5]).unwrap());
    let error = |csv: &str| read(csv, true).unwrap_err().to_string();
    assert!(error("x,z\n1,2\n").contains("needs a column named \"y\"; the columns are: x, z"));
    assert!(error("x,y,y\n1,2,3\n").contains("2 columns are named \"y\""));
    assert!(error("x,y\n1,two\n").contains("\"two\" is not a number"));
    assert_eq!(read("x,y\n", true), Err(DatasetError::NoRows));
    assert_eq!(read("", true), Err(DatasetError::Empty));
    let missing = error("3,4.5\n1,2\n");
    assert!(missing.contains("--no-header"), "{missing}");
    // One column of a file does not stand for two of a model.
    let read_twice = read_batch(b"x,y\n1,2\n", true, None, &["x", "x"], data.normalizer());
    assert!(matches!(read_twice, Err(DatasetError::DuplicateModelColumn { count: 2, .. })));
    // Without a header, names are positions.
    let error = read("1,2\n", false).unwrap_err().to_string();
    assert!(error.contains("the columns are: 0, 1"), "{error}");
}
