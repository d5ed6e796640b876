//! Reads npy files (f4, f2, i4, u1) for the measuring programs.

/// The values of a file row by row, the number of rows, and how many values a row has.
pub fn parse(bytes: &[u8]) -> (Vec<f32>, usize, usize) {
    let len = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let header = std::str::from_utf8(&bytes[10..10 + len]).unwrap();
    let shape = header.split("'shape': (").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    let mut shape = shape.split(',').filter_map(|n| n.trim().parse::<usize>().ok());
    let (rows, dim) = (shape.next().unwrap(), shape.next().unwrap_or(1));
    let body = &bytes[10 + len..];
    let values = if header.contains("'<f2'") {
        let half: Vec<u16> = body.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let mut values = vec![0.0; half.len()];
        dvse_simd::f16_to_f32(&half, &mut values);
        values
    } else if header.contains("'<f4'") {
        body.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
    } else if header.contains("'<i4'") {
        body.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as f32).collect()
    } else {
        body.iter().map(|byte| f32::from(*byte)).collect()
    };
    assert_eq!(values.len(), rows * dim, "the body does not have the shape of the header");
    (values, rows, dim)
}
