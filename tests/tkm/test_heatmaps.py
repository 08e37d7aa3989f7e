import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from tkm.heatmaps import (
    cell_to_crop,
    decode_highest,
    gather_cells,
    gather_vectors,
    local_maxima,
    quarter_shift,
    sample_vectors,
    subpixel_shift,
)


def peaks_by_loop(heatmap: np.ndarray, candidates: int, window: int) -> list[tuple[float, int]]:
    """(response, cell) of one map's local maxima, by the definition."""
    H, W = heatmap.shape
    reach, found = window // 2, []
    for row in range(H):
        for column in range(W):
            around = [
                (r, c)
                for r in range(max(0, row - reach), min(H, row + reach + 1))
                for c in range(max(0, column - reach), min(W, column + reach + 1))
                if (r, c) != (row, column)
            ]
            here = heatmap[row, column]
            if all(heatmap[r, c] < here or (heatmap[r, c] == here and (r, c) > (row, column)) for r, c in around):
                found.append((float(here), row * W + column))
    return sorted(found, key=lambda peak: (-peak[0], peak[1]))[:candidates]


def gaussians(centres_xy: torch.Tensor, H: int, W: int, sigma: float) -> torch.Tensor:
    """(N, K, H, W): one Gaussian a map, at centres (N, K, 2) in continuous cell coordinates."""
    x = torch.arange(W) + 0.5 - centres_xy[..., 0, None]
    y = torch.arange(H) + 0.5 - centres_xy[..., 1, None]
    return torch.exp(-(x[..., None, :] ** 2 + y[..., :, None] ** 2) / (2 * sigma**2))


@pytest.mark.parametrize("window", [3, 5, 7])
@pytest.mark.parametrize("levels", [4, 1000000], ids=["many ties", "hardly any tie"])
def test_local_maxima_are_those_of_the_definition(window, levels):
    generator = torch.Generator().manual_seed(window)
    heatmap = torch.randint(0, levels, (2, 3, 13, 17), generator=generator) / levels
    found = local_maxima(heatmap, candidates=9, window=window)
    for n in range(2):
        for k in range(3):
            expected = peaks_by_loop(heatmap[n, k].numpy(), 9, window)
            count = len(expected)
            assert found.cell[n, k].tolist() == [cell for _, cell in expected] + [-1] * (9 - count)
            assert found.response[n, k, :count].tolist() == [response for response, _ in expected]
            assert found.response[n, k, count:].isnan().all()


def test_equal_peaks_are_ordered_by_cell_also_where_the_candidates_end():
    heatmap = torch.zeros(1, 1, 9, 9)
    heatmap[0, 0, 1::2, 1::2] = 0.5
    heatmap[0, 0, 7, 7] = 0.9
    assert local_maxima(heatmap, candidates=4).cell.tolist() == [[[70, 10, 12, 14]]]


def test_equal_peaks_at_both_ends_of_a_row_are_two():
    heatmap = torch.zeros(2, 1, 6, 6)
    heatmap[:, 0, 3, [0, 5]] = 1
    found = local_maxima(heatmap, candidates=2)
    assert found.cell.tolist() == [[[18, 23]], [[18, 23]]]


def test_a_plateau_is_one_maximum_and_a_flat_map_at_most_one():
    heatmap = torch.zeros(1, 2, 12, 12)
    heatmap[0, 0, 4:7, 3:9] = 1
    found = local_maxima(heatmap)
    assert found.cell[0, 0, found.response[0, 0] == 1].tolist() == [4 * 12 + 3]
    assert (found.cell[0, 1] >= 0).sum() <= 1


def test_maxima_do_not_depend_on_the_rest_of_the_batch():
    heatmap = torch.rand(5, 4, 16, 16, generator=torch.Generator().manual_seed(3))
    together = local_maxima(heatmap)
    for n in range(5):
        alone = local_maxima(heatmap[n : n + 1])
        assert torch.equal(alone.cell[0], together.cell[n])
        assert torch.equal(alone.response[0].nan_to_num(-1), together.response[n].nan_to_num(-1))


def test_negative_responses_and_half_precision_are_heatmaps_too():
    heatmap = torch.full((1, 1, 8, 8), -5.0, dtype=torch.float16)
    heatmap[0, 0, 3, 3] = -1
    found = local_maxima(heatmap)
    assert found.cell[0, 0, 0] == 27
    assert found.response.dtype == torch.float32
    assert found.response[0, 0, 0] == -1


def test_no_crops_no_maxima():
    assert local_maxima(torch.empty(0, 17, 64, 64)).cell.shape == (0, 17, 16)


def test_maxima_on_a_gpu_are_those_on_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    heatmap = torch.randint(0, 50, (4, 17, 64, 64), generator=torch.Generator().manual_seed(4)) / 50
    cpu, gpu = local_maxima(heatmap), local_maxima(heatmap.cuda())
    assert torch.equal(cpu.cell, gpu.cell.cpu())
    assert torch.equal(cpu.response.nan_to_num(-1), gpu.response.cpu().nan_to_num(-1))
    shift = subpixel_shift(heatmap, cpu.cell), subpixel_shift(heatmap.cuda(), gpu.cell)
    assert torch.allclose(shift[0], shift[1].cpu(), equal_nan=True, atol=1e-5)


def test_subpixel_shift_finds_the_vertex_of_a_paraboloid_exactly():
    centre = torch.rand(4, 3, 2, generator=torch.Generator().manual_seed(5)) * 6 + 5
    x = torch.arange(16) + 0.5 - centre[..., 0, None]
    y = torch.arange(16) + 0.5 - centre[..., 1, None]
    heatmap = 10 - 0.3 * x[..., None, :] ** 2 - 0.7 * y[..., :, None] ** 2
    cell = local_maxima(heatmap, candidates=1).cell
    xy = cell_to_crop(cell, subpixel_shift(heatmap, cell), 16, 16) * 16
    assert torch.allclose(xy[:, :, 0], centre, atol=1e-3)


def test_peak_of_a_gaussian_comes_back_within_a_tenth_of_a_cell_in_crop_coordinates():
    centre = torch.rand(8, 17, 2, generator=torch.Generator().manual_seed(6)) * 40 + 4
    heatmap = gaussians(centre, H=64, W=48, sigma=1.5)
    cell = local_maxima(heatmap, candidates=1).cell
    xy = cell_to_crop(cell, subpixel_shift(heatmap, cell), 64, 48)[:, :, 0]
    assert (xy * torch.tensor([48, 64]) - centre).abs().max() < 0.1


def test_shift_stays_within_half_a_cell_and_is_none_across_the_border():
    generator = torch.Generator().manual_seed(7)
    heatmap = torch.rand(2, 3, 8, 9, generator=generator)
    cell = torch.arange(72).expand(2, 3, 72).contiguous()
    shift = subpixel_shift(heatmap, cell)
    assert shift.abs().max() <= 0.5
    assert shift.abs().max() > 0.1
    row, column = cell // 9, cell % 9
    assert (shift[..., 0][(column == 0) | (column == 8)] == 0).all()
    assert (shift[..., 1][(row == 0) | (row == 7)] == 0).all()


def test_shift_is_none_on_flat_ground_and_on_one_cell():
    assert (subpixel_shift(torch.zeros(1, 1, 5, 5), torch.tensor([[[12]]])) == 0).all()
    assert (subpixel_shift(torch.ones(1, 1, 1, 1), torch.tensor([[[0]]])) == 0).all()


def test_quarter_shift_goes_towards_the_higher_neighbour_in_each_direction():
    heatmap = torch.zeros(1, 1, 5, 6)
    heatmap[0, 0, 2, 3] = 1
    heatmap[0, 0, 2, 2], heatmap[0, 0, 2, 4] = 0.2, 0.3
    heatmap[0, 0, 1, 3], heatmap[0, 0, 3, 3] = -0.1, -0.2
    assert quarter_shift(heatmap, torch.tensor([[[15]]])).tolist() == [[[[0.25, -0.25]]]]
    assert quarter_shift(-heatmap, torch.tensor([[[15]]])).tolist() == [[[[-0.25, 0.25]]]]


def test_quarter_shift_is_none_between_equals_across_the_border_and_without_a_cell():
    heatmap = torch.rand(1, 1, 5, 6, generator=torch.Generator().manual_seed(8))
    assert (quarter_shift(torch.ones(1, 1, 5, 6), torch.tensor([[[15]]])) == 0).all()
    corner, edge, missing = quarter_shift(heatmap, torch.tensor([[[29, 6, -1]]]))[0, 0]
    assert corner.tolist() == [0, 0]
    assert edge[0] == 0
    assert abs(edge[1]) == 0.25
    assert missing.isnan().all()


def test_the_highest_cell_is_the_first_candidate_also_among_equals():
    heatmap = torch.randint(0, 4, (3, 5, 7, 9), generator=torch.Generator().manual_seed(9)) / 2 - 0.4
    pose, maxima = decode_highest(heatmap, 0.125), local_maxima(heatmap)
    assert torch.equal(pose.cell, maxima.cell[..., 0])
    placed = cell_to_crop(maxima.cell, quarter_shift(heatmap, maxima.cell), 7, 9, 0.125)
    assert torch.equal(pose.xy, placed[:, :, 0])
    assert torch.equal(pose.score, maxima.response[..., 0].clamp(0, 1))
    assert pose.score.max() == 1


def test_missing_candidates_are_nan_everywhere():
    heatmap = gaussians(torch.full((1, 1, 2), 4.2), H=8, W=8, sigma=1.0)
    cell = local_maxima(heatmap, candidates=3).cell
    assert cell[0, 0].tolist() == [36, -1, -1]
    shift = subpixel_shift(heatmap, cell)
    for values in (shift, cell_to_crop(cell, shift, 8, 8), gather_cells(heatmap, cell)):
        assert values[0, 0, 1:].isnan().all()
        assert not values[0, 0, 0].isnan().any()


def test_gathered_values_are_those_of_the_cells():
    maps = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    cell = torch.tensor([7, 0, 19]).expand(2, 3, 3)
    values = gather_cells(maps, cell)
    assert values[1, 2].tolist() == [maps[1, 2, 1, 2].item(), maps[1, 2, 0, 0].item(), maps[1, 2, 3, 4].item()]


def test_sampled_vectors_are_those_of_maps_brought_to_the_cells_resolution_bilinearly():
    torch.manual_seed(0)
    H, W = 16, 12
    maps = tuple(torch.randn(2, D, H // step, W // step) for D, step in ((3, 1), (5, 2), (4, 4)))
    cell = torch.arange(H * W).reshape(1, 3, -1).repeat(2, 1, 1)  # all, also those of the border
    cell[0, 1, 3:] = -1
    sampled = sample_vectors(maps, cell, (H, W))
    brought = torch.cat([interpolate(level, size=(H, W), mode="bilinear", align_corners=False) for level in maps], dim=1)
    assert sampled.shape == (2, 3, H * W // 3, 12)
    assert torch.allclose(sampled, gather_vectors(brought, cell), atol=1e-5)
    assert not sampled[0, 1, 3:].any()


def test_cell_centres_in_crop_coordinates():
    cell = torch.tensor([[[0, 11]]])
    xy = cell_to_crop(cell, torch.zeros(1, 1, 2, 2), H=3, W=4)
    assert torch.allclose(xy[0, 0], torch.tensor([[0.125, 1 / 6], [0.875, 5 / 6]]))
    xy = cell_to_crop(cell, torch.zeros(1, 1, 2, 2), H=3, W=4, centre=0.125)
    assert torch.allclose(xy[0, 0], torch.tensor([[0.125 / 4, 0.125 / 3], [3.125 / 4, 2.125 / 3]]))


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("heatmap", lambda: local_maxima(torch.zeros(17, 64, 64))),
        ("heatmap", lambda: local_maxima(torch.zeros(1, 17, 8, 8, dtype=torch.int64))),
        ("candidates", lambda: local_maxima(torch.zeros(1, 1, 8, 8), candidates=0)),
        ("window", lambda: local_maxima(torch.zeros(1, 1, 8, 8), window=4)),
        ("cell", lambda: gather_cells(torch.zeros(1, 2, 8, 8), torch.zeros(1, 3, 1, dtype=torch.int64))),
        ("cell", lambda: subpixel_shift(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 1, dtype=torch.int32))),
        ("cell", lambda: quarter_shift(torch.zeros(1, 2, 8, 8), torch.zeros(1, 2, 1, dtype=torch.int32))),
        ("shift", lambda: cell_to_crop(torch.zeros(1, 2, 1, dtype=torch.int64), torch.zeros(1, 2, 2), 8, 8)),
    ],
)
def test_bad_arguments_are_refused_by_name(argument, call):
    with pytest.raises(ValueError, match=argument):
        call()
